"""Models of transformers that judges are made of: any folder or hub id. Safetensors only, never code of others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from saes.disk import read_json
from saes.errors import WorkbenchError
from workbench.identity import hashed
from workbench.models.loading import HUB_ID
from workbench.models.quiet import quiet
from workbench.models.weights import check_complete, check_whole, fingerprint, weight_files

FILES = ("model*.safetensors*", "*.json", "*.txt", "*.model", "*.jinja")  # what is downloaded of a hub id
READ = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json",
        "special_tokens_map.json", "vocab.json", "merges.txt", "spiece.model", "chat_template.jinja",
        "generation_config.json")  # fmt: skip


class Found(NamedTuple):
    """A folder with a model: its config.json, and the SHA-256 of all files that it is read from."""

    folder: Path
    config: dict[str, Any]
    digest: str


def found(name: str | Path, what: str) -> Found:
    """A model's folder, downloaded first if it is a hub id that is not on this machine.

    Args:
        name: The folder or the id.
        what: What is looked for, with its article: "a CLIP or SigLIP".

    Returns:
        The folder, of which no weights are loaded yet.

    Raises:
        WorkbenchError: There is no such model, it brings code, or has its weights only as a pickle or not whole.
    """
    folder = _folder(str(name), what)
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        raise WorkbenchError(f"{name} brings code of its own.", f"Take {what} that transformers has.")
    files = weight_files(folder, "")
    check_whole(files)
    read = {path: fingerprint({"": [folder / path]}) for path in READ if (folder / path).is_file()}
    return Found(folder, config, hashed([fingerprint({"": files}), read]))


def network(kind: Any, folder: Path) -> Any:
    """The network of a folder, frozen, in float32, on the GPU if there is one.

    Args:
        kind: A class of transformers with `from_pretrained`.
        folder: What `found` gave.

    Returns:
        The network.

    Raises:
        WorkbenchError: It cannot be opened, or lacks tensors.
    """
    with _readable(folder):
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    check_complete(folder, report)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device)


def loaded(kind: Any, folder: Path) -> Any:
    """What stands beside a network in its folder: a tokenizer, or a processor of pictures.

    Args:
        kind: A class of transformers with `from_pretrained`.
        folder: What `found` gave.

    Returns:
        An instance.

    Raises:
        WorkbenchError: It cannot be opened.
    """
    with _readable(folder):
        return kind.from_pretrained(folder, local_files_only=True)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Makes one sentence of what transformers cannot open, and keeps its bars away."""
    try:
        with quiet():
            yield
    except (OSError, ValueError) as error:
        raise WorkbenchError(
            f"{folder} cannot be opened ({str(error).splitlines()[0]}).", "Download or save the whole model again."
        ) from None


def _folder(name: str, what: str) -> Path:
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists() or not HUB_ID.fullmatch(name) or name.count("/") != 1:
        raise WorkbenchError(f"{name} is not {what}: it has no config.json.", f"Give a folder or a hub id of {what}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is no model
        raise WorkbenchError(
            f"{name!r} is neither a folder nor a model that could be downloaded ({str(error).splitlines()[0]}).",
            "Check the spelling and the network; for a gated model run `hf auth login` first.",
        ) from error
