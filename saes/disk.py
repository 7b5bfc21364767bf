"""Files that are whole or absent: everything is written beside its target, flushed, and renamed over it.

A reader therefore never meets half a file after a kill, and what does not belong (an unknown or a missing field,
a pickle) is refused by name instead of being passed over.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from saes.errors import WorkbenchError, unknown_name

if TYPE_CHECKING:
    import torch


def write_json(path: Path | str, value: Any) -> None:
    """Writes indented UTF-8 JSON atomically. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str, fields: Collection[str] | None = None) -> Any:
    """Reads JSON. With `fields`, it must be an object with exactly these keys.

    Raises `WorkbenchError` if the file is absent or no JSON, or has unknown or missing keys.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _absent(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"{path} is not valid JSON ({error}).", "Make it again, or restore a copy.") from None
    if fields is not None:
        _check_fields(path, value, fields)
    return value


def _absent(path: Path) -> WorkbenchError:
    return WorkbenchError(f"{path} does not exist.", "Check the path; the step that writes it may not have run.")


def _check_fields(path: Path, value: Any, fields: Collection[str]) -> None:
    if not isinstance(value, dict):
        raise WorkbenchError(f"{path} should hold a JSON object.", "Make the file again with this version.")
    for unknown in sorted(value.keys() - set(fields)):
        error = unknown_name("field", unknown, fields)
        raise WorkbenchError(f"{path}: {error.problem}", error.remedy)
    missing = sorted(set(fields) - value.keys())
    if missing:
        raise WorkbenchError(f"{path} lacks the field {missing[0]!r}.", "Make the file again with this version.")


def write_tensors(
    path: Path | str, tensors: Mapping[str, "torch.Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file atomically; tensors go through the CPU and may be views."""
    from safetensors.torch import save_file

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(Path(path)) as temporary:
        save_file(own, temporary, metadata=dict(metadata) if metadata else None)


def read_tensors(path: Path | str) -> dict[str, "torch.Tensor"]:
    """Reads a safetensors file to the CPU. Raises `WorkbenchError` if it is absent, truncated, or of another format."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise _absent(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WorkbenchError(
            f"{path} is not a whole safetensors file ({error}).", "Make it again, or restore it from a copy."
        ) from None


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Gives a temporary folder beside `path`; on a clean exit it becomes `path`, after an exception it is removed.

    Raises `WorkbenchError` if `path` exists already (before the body runs) or cannot be created.
    """
    path = Path(path)
    if path.exists():
        raise WorkbenchError(f"{path} exists already.", "Choose another folder, or remove that one first.")
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    with _writable(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _flush(file)
        _flush(temporary)
        with _writable(path):
            temporary.rename(path)
        _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` (the folder is made) and renames it over `path` on a clean exit."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        with _writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
            temporary.replace(path)
        _flush(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkbenchError(
            f"Cannot write {path} ({error.strerror or error}).", "Choose a place that you may write to and with room."
        ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
