"""`workbench models`: what can be loaded without a download."""

from pathlib import Path

from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def models(json: Json = False, config: Config = None) -> None:
    """List the models on this machine: the toys, and what of the hub's cache can be loaded. Folders work too.

    Example:  workbench models --json
    """
    from workbench.models.loading import TOYS

    toys = [_row(name, folder) for name, folder in TOYS.items()]
    show([row for row in (*toys, *cached()) if row], json=json, title="Models on this machine")


def cached() -> list[dict[str, str]]:
    """The diffusers pipelines and Januses in the hub's cache, by the id that `load` takes."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = sorted((each.repo_id, revision.snapshot_path) for each in repositories for revision in each.revisions)
    return [row for row in (_row(*each) for each in found) if row]


def _row(name: str, folder: Path) -> dict[str, str]:
    """What is known of a folder; nothing if it is no model."""
    from saes.disk import read_json

    index, config = folder / "model_index.json", folder / "config.json"
    if index.is_file():
        return {"model": name, "class": read_json(index).get("_class_name", "–"), "folder": str(folder)}
    if config.is_file() and read_json(config).get("model_type") == "janus":
        return {"model": name, "class": "JanusForConditionalGeneration", "folder": str(folder)}
    return {}
