"""What a killed writer leaves in a folder, told from what belongs there."""

import os
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

    A folder below that has a lock of its own is passed over: whoever holds or finds that lock sweeps there.

    Args:
        folder: a folder whose whole content is the workbench's.
    """
    for where, folders, files in os.walk(folder):
        here = Path(where)
        if here != folder and LOCK in files:
            folders.clear()
            continue
        for name in filter(LEFTOVER.fullmatch, files):
            (here / name).unlink(missing_ok=True)
        for name in [name for name in folders if LEFTOVER.fullmatch(name)]:
            folders.remove(name)
            shutil.rmtree(here / name, ignore_errors=True)
