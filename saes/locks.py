"""One process works in a folder at a time, or one team of processes that share the work out.

The lock is the operating system's own (`flock`) on the file `.lock` in the folder: it ends with its process, however
that ends. What killed writers left is swept when the last one leaves.
"""

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from saes.errors import WorkbenchError
from saes.file_errors import writable
from saes.leftovers import LOCK, sweep

UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # from file systems on which nobody can lock anything


class Busy(WorkbenchError):
    """Somebody else works in the folder."""


@dataclass
class _Hold:
    descriptor: int
    owner: tuple[int, int]  # process and thread; a forked child inherits the table of holds, but no hold
    together: bool
    depth: int = 1


_holds: dict[str, _Hold] = {}  # by the real path of the folder
_table = threading.Lock()


@contextmanager
def working_in(folder: Path | str, *, together: bool = False) -> Iterator[None]:
    """Keeps everybody else out of a folder while the block runs. Blocks within blocks of one thread count as one.

    On a clean exit the leftovers of killed writers are swept, so the block must have found that the folder is ours.

    Args:
        folder: the folder in which the block writes. It is made; if it was not there and the block leaves it empty, it
            is removed again.
        together: others that say so too may work there at the same time. Then the last to leave sweeps.

    Raises:
        Busy: another process or thread is working there.
        WorkbenchError: the folder cannot be written.
    """
    folder = Path(folder)
    is_new = not folder.is_dir()
    _enter(folder, together)
    clean = False
    try:
        yield
        clean = True
    finally:
        _leave(folder, clean=clean, is_new=is_new)


def _enter(folder: Path, together: bool) -> None:
    owner = (os.getpid(), threading.get_ident())
    with _table:
        hold = _holds.get(os.path.realpath(folder))
        if hold is not None and hold.owner == owner:
            assert together or not hold.together, "a member of a team cannot have the folder for itself"
            hold.depth += 1
        elif hold is not None and hold.owner[0] == os.getpid():
            raise _busy(folder, "another part of this program")
        else:
            _holds[os.path.realpath(folder)] = _Hold(_locked(folder, together), owner, together)


def _leave(folder: Path, *, clean: bool, is_new: bool) -> None:
    with _table:
        hold = _holds[os.path.realpath(folder)]
        hold.depth -= 1
        if hold.depth:
            return
        del _holds[os.path.realpath(folder)]
    try:
        if _lock(hold.descriptor, fcntl.LOCK_EX):  # the last one here
            if clean:
                sweep(folder)
            (folder / LOCK).unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):  # it is not empty, as it should be
                    folder.rmdir()
    finally:
        os.close(hold.descriptor)


def _locked(folder: Path, together: bool) -> int:
    """A descriptor of the lock file, locked. The last one to leave removes the file, so a new one may be needed."""
    while True:
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # the folder was removed just now, by the last one who was in it
                continue
            free = _lock(descriptor, fcntl.LOCK_SH if together else fcntl.LOCK_EX)
        if not free:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            raise _busy(folder, f"process {owner}" if owner else "another process")
        if _is_at(descriptor, folder / LOCK):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _busy(folder: Path, who: str) -> Busy:
    return Busy(f"{folder} is being worked in by {who}.", "Wait until it ends, or choose another folder.")
