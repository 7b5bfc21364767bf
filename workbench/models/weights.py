"""The weight files of a diffusers folder: only safetensors, only whole ones, and one fingerprint over all of them."""

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from saes.disk import read_json, sha256_of, write_json
from saes.errors import WorkbenchError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
SETTLED_NS = 2_000_000_000
VARIANTS = ("", "fp16", "bf16", "fp32")  # the first that is there is taken
_NAME = re.compile(
    r"(model|diffusion_pytorch_model)"
    r"((\.(?!\w+-\d+-of-\d+)(?P<file>[\w-]+))?\.safetensors|\.safetensors\.index(\.(?P<index>[\w-]+))?\.json)"
)


class Weights(NamedTuple):
    """The safetensors files that a component is loaded from, and the name of their variant, None for the plain ones."""

    files: list[Path]
    variant: str | None


def weight_files(folder: Path, component: str) -> list[Path]:
    """The files of `weights_of`."""
    return weights_of(folder, component).files


def weights_of(folder: Path, component: str) -> Weights:
    """One file or its shards: the plain ones, else the variant fp16 or bf16, else the only one.

    Raises `WorkbenchError` if there are none, with another remedy where there are pickles, and for several unknown
    variants.
    """
    directory = folder / component
    found = dict(_variants(directory))
    known = [name for name in VARIANTS if name in found]
    if len(found) > 1 and not known:
        raise WorkbenchError(
            f"{directory} has several variants of its weights ({', '.join(sorted(found))}).",
            "Leave one of them there, or rename it without its variant.",
        )
    for name in (*known, *found):
        path = found[name]
        shards = [path] if path.suffix != ".json" else _shards(path)
        return Weights(shards, name or None)
    pickles = [path.name for pattern in PICKLES for path in sorted(directory.glob(pattern))]
    if pickles:
        raise WorkbenchError(
            f"{directory} has its weights only as a pickle ({pickles[0]}), which could run any code when it is read.",
            "Convert it on a machine that you can lose: load it there with diffusers and call "
            "save_pretrained(..., safe_serialization=True).",
        )
    raise WorkbenchError(f"{directory} has no weights.", "Download or save the model again; this folder is not whole.")


def _variants(directory: Path) -> Iterator[tuple[str, Path]]:
    """Each variant of the weights in a folder, "" for the plain ones, with its file or the index of its shards."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            yield match["file"] or match["index"] or "", path


def _shards(index: Path) -> list[Path]:
    return [index.parent / name for name in sorted(set(read_json(index)["weight_map"].values()))]


def check_whole(files: list[Path]) -> None:
    """Raises `WorkbenchError` for the first file that is absent, truncated, or of another format. Reads headers."""
    for path in files:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise WorkbenchError(
                f"{path} is not a whole safetensors file ({error}).", "Download or save the model again."
            ) from None


def check_complete(folder: Path, report: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` for a component whose files lack tensors, or hold some of another shape.

    Args:
        folder: The component's folder.
        report: What `from_pretrained(…, output_loading_info=True)` says.
    """
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    for names, what in ((missing, "lack"), (mismatched, "have another shape for")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WorkbenchError(
                f"The weights in {folder} {what} {names[0]}{more}.",
                "Save the whole model there: edited tensors alone, or the keys of another program, are no model.",
            )


def check_finite(folder: Path, network: nn.Module) -> None:
    """Raises `WorkbenchError` for the first tensor that holds NaN or infinity, which would make every picture black.

    A sum is finite only if all its terms are, and one pass over the numbers; only where it is not are they looked at.

    Args:
        folder: The component's folder.
        network: The component, as it was loaded, all on one device.
    """
    tensors = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors.values()])
    suspects = [name for name, finite in zip(tensors, sums.isfinite().tolist(), strict=True) if not finite]
    for name in suspects:
        if not tensors[name].isfinite().all():
            half = tensors[name].dtype == torch.float16
            more = (
                ", or load it in float32 (--dtype float32): numbers above 65504 are infinite in float16" if half else ""
            )
            raise WorkbenchError(
                f"The weights in {folder} hold NaN or infinity, in {name}.", f"Download or save the model again{more}."
            )


def fingerprint(components: dict[str, list[Path]]) -> str:
    """One SHA-256 over the names and contents of all weight files; the same on every machine, in every process."""
    digest = hashlib.sha256()
    for name, files in sorted(components.items()):
        for path in files:
            digest.update(f"{name}/{path.name} {_remembered_hash(path)}\n".encode())
    return digest.hexdigest()


def hash_memory() -> Path:
    """Where hashes of large files are remembered: below XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "erasure-workbench" / "hashes.json"


def _remembered_hash(path: Path) -> str:
    """The hash of a file, computed again unless it is the very file of last time.

    The time of the last change of its entry and its number on the disk are compared too: size and time of writing can
    be equal for another file (`cp -p`, `rsync -t`). A file that changed a moment ago is not remembered, since a second
    change within the clock's tick would not show.
    """
    stat = path.stat()
    key, state = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
    memory = _read_memory()
    known = memory.get(key)
    if known and known[:-1] == state:
        return known[-1]
    value = sha256_of(path)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED_NS:
        return value
    try:
        hash_memory().parent.mkdir(parents=True, exist_ok=True)
        write_json(hash_memory(), memory | {key: [*state, value]})
    except (OSError, WorkbenchError):
        pass  # a home that cannot be written to only costs time
    return value


def _read_memory() -> dict[str, Any]:
    try:
        memory = read_json(hash_memory())
    except (OSError, WorkbenchError):
        return {}
    return memory if isinstance(memory, dict) else {}
