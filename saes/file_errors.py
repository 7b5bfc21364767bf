"""Why something could not be read or written, in one sentence with a remedy, whichever library tried."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saes.errors import WorkbenchError

NO_ROOM = "Make room there or choose another place, then run it again."
FORBIDDEN = "Choose a place that you may write to."
NO_FOLDER = "Choose another place: a file is where a folder should be."
REMEDIES = {
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EFBIG: NO_ROOM,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.EROFS: FORBIDDEN,
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOTDIR: NO_FOLDER,
    errno.EEXIST: NO_FOLDER,
    errno.EISDIR: "Choose another name: that one is a folder.",
}
OTHERWISE = "Choose a place that you may write to and with room."


@contextmanager
def writable(path: Path | str) -> Iterator[None]:
    """Turns every failure to write inside the block into one sentence about `path`.

    Args:
        path: the file or folder that the block writes, as the user knows it.

    Raises:
        WorkbenchError: the block raised an `OSError`, or the `SafetensorError` that stands for one. Other errors pass.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and not _of_safetensors(error):
            raise
        number = _number(error)
        reason = os.strerror(number) if number else str(error)
        raise WorkbenchError(f"Cannot write {path} ({reason}).", REMEDIES.get(number, OTHERWISE)) from error


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turns every failure to read inside the block into one sentence about `path`.

    Args:
        path: the file that the block reads.

    Raises:
        WorkbenchError: the file is absent, a folder, or may not be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise WorkbenchError(
            f"{path} does not exist.", "Check the path; the step that writes it may not have run."
        ) from None
    except IsADirectoryError:
        raise WorkbenchError(f"{path} is a folder, not a file.", "Give a file.") from None
    except OSError as error:
        raise WorkbenchError(f"Cannot read {path} ({error.strerror or error}).", "Check the path.") from None


def _of_safetensors(error: Exception) -> bool:
    """safetensors reports a full disk by its own type, which is no `OSError`: "I/O error: … (os error 28)"."""
    return type(error).__name__ == "SafetensorError" and "I/O error" in str(error)


def _number(error: Exception) -> int:
    """The operating system's number of an error; 0 where the library kept it to itself."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return getattr(error, "errno", None) or (int(told[1]) if told else 0)
