"""Who does which piece of work, when several processes work in one folder.

A claim is the lock of the folder `unfinished/<key>`, in which a fit keeps its checkpoints; it dies with its process.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from saes.locks import Busy, working_in
from saes.progress import SILENT, Progress
from workbench.identity import hashed
from workbench.processes import processes

Job = TypeVar("Job")
Made = TypeVar("Made")
UNFINISHED = "unfinished"
PAUSE = 0.5  # seconds between two looks at what another process is doing


def share(
    jobs: Sequence[Job], work: Callable[[Job], Made], progress: Progress = SILENT, label: str = "fits"
) -> dict[Job, Made]:
    """Makes what nobody else is making, then waits for the rest.

    Processes of one launch begin at different places. Whoever is done takes what is free, and what a process that died
    had claimed is free again.

    Args:
        jobs: The same in all processes, in the same order.
        work: Gives what a job makes, found or made. It raises `Busy` while another process makes it.
        progress: Shows the jobs, and those that are waited for.
        label: What they are called.

    Returns:
        What each job made, in the order of the jobs.
    """
    made: dict[Job, Made] = {}
    others: list[Job] = []
    for job in progress(_own_first(jobs), label):
        try:
            made[job] = work(job)
        except Busy:
            others.append(job)
    for job in progress(others, f"{label} of other processes") if others else ():
        made[job] = _awaited(job, work)
    return {job: made[job] for job in jobs}


@contextmanager
def claimed(run_dir: Path, *what: str) -> Iterator[None]:
    """No other process does this piece of work while the block runs.

    Args:
        run_dir: The folder in which the processes work.
        *what: Names the work among all that is done there.

    Raises:
        Busy: Another process does it.
    """
    place = run_dir / UNFINISHED / hashed(what)[:20]
    with working_in(place):
        yield
        rmtree(place, ignore_errors=True)  # another process may come in as the lock goes, and remove it too


def sweep_unfinished(folder: Path) -> None:
    """Removes what killed processes left of work that is done: checkpoints of fits, and claims.

    Args:
        folder: `unfinished` of a run all of whose work is done, or a place where there is none.
    """
    for unfinished in sorted(folder.glob("*/")):
        try:
            with working_in(unfinished):
                rmtree(unfinished, ignore_errors=True)
        except Busy:
            continue
    with suppress(OSError):  # it is not empty, or another process removed it
        folder.rmdir()


def _own_first(jobs: Sequence[Job]) -> list[Job]:
    state = processes()
    size = state.num_processes
    return [job for place in range(size) for job in jobs[(state.process_index + place) % size :: size]]


def _awaited(job: Job, work: Callable[[Job], Made]) -> Made:
    while True:
        try:
            return work(job)
        except Busy:
            time.sleep(PAUSE)
