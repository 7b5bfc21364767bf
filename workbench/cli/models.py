"""`workbench models`: what can be loaded without a download."""

from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def models(json: Json = False, config: Config = None) -> None:
    """List the models on this machine: the toy, and pipelines in the hub's cache. Any diffusers folder works too.

    Example:  workbench models --json
    """
    from workbench import toy

    rows = [{"model": "toy", "class": "StableDiffusionPipeline", "folder": str(toy.path())}, *cached()]
    show(rows, json=json, title="Models on this machine")


def cached() -> list[dict[str, str]]:
    """The diffusers pipelines in the hub's cache, by the id that `load` takes."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from saes.disk import read_json

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    indices = [(r.repo_id, v.snapshot_path / "model_index.json") for r in repositories for v in r.revisions]
    return [
        {"model": name, "class": read_json(index).get("_class_name", "–"), "folder": str(index.parent)}
        for name, index in sorted(indices)
        if index.is_file()
    ]
