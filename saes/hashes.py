"""The hashes of a folder's tensor files, in `hashes.json` beside them. sae-lens passes over that file."""

from pathlib import Path

from saes.disk import read_json, sha256_of, write_json
from saes.errors import WorkbenchError

HASHES = "hashes.json"


def write_hashes(folder: Path) -> None:
    """Writes the SHA-256 of every safetensors file that lies in a folder now.

    Args:
        folder: the folder; files below it are left out.

    Raises:
        WorkbenchError: a file cannot be read or written.
    """
    write_json(folder / HASHES, {path.name: sha256_of(path) for path in sorted(folder.glob("*.safetensors"))})


def check_hash(path: Path) -> None:
    """Compares a tensor file with the hash beside it. A folder without hashes, as other people's are, passes.

    Args:
        path: the tensor file.

    Raises:
        WorkbenchError: the file is not the one whose hash was written, or is absent.
    """
    if not path.with_name(HASHES).exists():
        return
    hashes = read_json(path.with_name(HASHES))
    if not isinstance(hashes, dict):
        raise WorkbenchError(f"{path.with_name(HASHES)} is damaged.", "Restore a copy of the folder.")
    if path.name in hashes and hashes[path.name] != sha256_of(path):
        raise WorkbenchError(
            f"{path} was altered: it does not have the hash in {HASHES}.",
            f"Restore a copy; if you changed it on purpose, remove {HASHES}.",
        )
