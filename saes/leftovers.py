"""What a killed writer leaves in a folder, told from what belongs there."""

import re
import shutil
from pathlib import Path
from uuid import uuid4

LOCK = ".lock"  # in a folder in which a process works; see `saes.locks`
# Our own temporary names, and those of safetensors, which writes beside its target too.
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part|\.tmp[A-Za-z0-9]{6}")


def temporary_name(path: Path) -> Path:
    """A new name beside a file or folder, never longer than names may be.

    Args:
        path: what is to be written.

    Returns:
        A path in the same folder, at which nothing is.
    """
    return path.with_name(f".{path.name[:40]}.{uuid4().hex[:8]}.part")


def contents(folder: Path) -> set[str]:
    """The names in a folder, but for a lock and for what a kill left.

    Args:
        folder: a folder, or a place where there is none.

    Returns:
        Names of files and folders; none if there is no folder.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if name != LOCK and not LEFTOVER.fullmatch(name)}


def sweep(folder: Path) -> None:
    """Removes what killed writers left in a folder and below. Nobody else may be writing there.

    Args:
        folder: a folder whose whole content is the workbench's.
    """
    for left in [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
