"""Files that are whole or absent: everything is written beside its target, flushed, and renamed over it.

A reader therefore never meets half a file after a kill, and what does not belong (an unknown or a missing field,
a number that is none, a pickle) is refused by name instead of being passed over.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saes.errors import WorkbenchError, unknown_name
from saes.file_errors import readable, writable
from saes.leftovers import temporary_name
from saes.strict_json import from_json, to_json

if TYPE_CHECKING:
    import torch


def read_text(path: Path | str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark. Line ends are left as they are.

    Args:
        path: the file.

    Returns:
        The whole text.

    Raises:
        WorkbenchError: the file is absent, is a folder, may not be read, is in another encoding, or is no text.
    """
    with readable(path), open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        where = f"line {line}"
    else:
        if "\0" not in text:
            return text
        where = "it holds zero bytes"
    raise WorkbenchError(f"{path} is not UTF-8 text ({where}).", "Save it as UTF-8.")


def write_json(path: Path | str, value: Any, *, keep: bool = False) -> None:
    """Writes indented UTF-8 JSON atomically.

    Args:
        path: the file; folders above it are made.
        value: mappings with text keys, lists, texts, finite numbers, booleans and None.
        keep: leave a file that is there already, if another process was faster.

    Raises:
        WorkbenchError: the file cannot be written, or `value` holds NaN, infinity or half a character.
    """
    text = to_json(value, path)
    with replacing(path, keep=keep) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str, fields: Collection[str] | None = None) -> Any:
    """Reads JSON, strictly.

    Args:
        path: the file.
        fields: the keys that the object in the file must have, all of them and no others; None: any JSON.

    Returns:
        The value in the file.

    Raises:
        WorkbenchError: the file is no readable text or no JSON, gives a key twice, holds NaN, infinity or half a
            character, or has unknown or missing keys.
    """
    value = from_json(read_text(path), path)
    if fields is not None:
        _check_fields(path, value, fields)
    return value


def _check_fields(path: Path | str, value: Any, fields: Collection[str]) -> None:
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
    """Writes a safetensors file atomically.

    Args:
        path: the file; folders above it are made.
        tensors: name → tensor, of any shape and device; they go through the CPU and may be views.
        metadata: texts to be kept in the head of the file.

    Raises:
        WorkbenchError: the file cannot be written.
    """
    from safetensors.torch import save_file

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(own, temporary, metadata=dict(metadata) if metadata else None)


def read_tensors(path: Path | str) -> dict[str, "torch.Tensor"]:
    """Reads a safetensors file to the CPU.

    Args:
        path: the file.

    Returns:
        Name → tensor, with the shapes and types in which they were written.

    Raises:
        WorkbenchError: the file is absent, may not be read, is truncated, or is of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with readable(path), open(path, "rb"):
        pass
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WorkbenchError(
            f"{path} is not a whole safetensors file ({error}).", "Make it again, or restore it from a copy."
        ) from None


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, read in pieces.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        WorkbenchError: the file is absent or may not be read.
    """
    with readable(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Makes a folder that is whole or absent.

    Args:
        path: the folder; those above it are made.

    Yields:
        A temporary folder beside `path`. On a clean exit it becomes `path`; after an exception it is removed.

    Raises:
        WorkbenchError: `path` exists already (before the block runs), or something in the block cannot be written.
    """
    path = Path(path)
    with writable(path):
        if path.exists():
            raise WorkbenchError(f"{path} exists already.", "Choose another folder, or remove that one first.")
    temporary = temporary_name(path)
    try:
        with _spoken_of_as(path, temporary), writable(path):
            temporary.mkdir(parents=True)
            yield temporary
            _settle(temporary)
            temporary.rename(path)
            _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def _spoken_of_as(path: Path, temporary: Path) -> Iterator[None]:
    """Errors about files inside the temporary folder name the place that the user gave."""
    try:
        yield
    except WorkbenchError as error:
        raise WorkbenchError(error.problem.replace(str(temporary), str(path)), error.remedy) from error


def _settle(folder: Path) -> None:
    """All files are flushed, and as readable as the umask says, whoever wrote them."""
    mode = folder.stat().st_mode & 0o666
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            file.chmod(mode)
        _flush(file)
    _flush(folder)


@contextmanager
def replacing(path: Path | str, *, keep: bool = False) -> Iterator[Path]:
    """Writes one file of any format atomically.

    Args:
        path: the file; folders above it are made.
        keep: leave a file that is there already, if another process was faster.

    Yields:
        A temporary file beside `path`, to be written. On a clean exit it is renamed over `path`, as readable as the
        umask says; after an exception it is removed and `path` is as before.

    Raises:
        WorkbenchError: something in the block cannot be written.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            mode = temporary.stat().st_mode & 0o666  # safetensors makes a file of its own, for its owner alone
            yield temporary
            temporary.chmod(mode)
            _flush(temporary)
            _put(temporary, path, keep)
            _flush(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _put(temporary: Path, path: Path, keep: bool) -> None:
    if not keep:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, it fails where something is
    except FileExistsError:
        pass
    except OSError:  # from a file system without links
        temporary.replace(path)
        return
    temporary.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
