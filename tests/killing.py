"""Work that is killed half-way and started again."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from saes.disk import read_json
from workbench.fitting.checkpoints import NAME

Result = TypeVar("Result")


def kill_and_go_on(folder: Path, work: Callable[[], Result]) -> Result:
    """Runs `work` in another process, which gets SIGKILL at the third checkpoint below `folder`, then here."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    while child.is_alive():
        found = list(folder.rglob(NAME))
        if found and read_json(found[0])["step"] >= 3:
            child.kill()
            break
        time.sleep(0.005)
    child.join()
    assert child.exitcode == -9, f"it ended by itself ({child.exitcode})"
    return work()
