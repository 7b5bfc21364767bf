"""Who makes which fit, when several processes work on one comparison.

A claim is the lock of the folder `unfinished/<key>`, in which the fit keeps its checkpoints; it dies with its process.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from saes.locks import Busy, working_in
from saes.progress import SILENT, Progress
from workbench.processes import processes

Job = TypeVar("Job")
Made = TypeVar("Made")
PAUSE = 0.5  # seconds between two looks at what another process is fitting


def share(jobs: Sequence[Job], fit: Callable[[Job], Made], progress: Progress = SILENT) -> dict[Job, Made]:
    """Makes what nobody else is making, then waits for the rest.

    Processes of one launch begin at different places. Whoever is done takes what is free, and what a process that died
    had claimed is free again.

    Args:
        jobs: The same in all processes, in the same order.
        fit: Gives what a job makes, found or made. It raises `Busy` while another process makes it.
        progress: Shows the jobs, and those that are waited for.

    Returns:
        What each job made, in the order of the jobs.
    """
    made: dict[Job, Made] = {}
    others: list[Job] = []
    for job in progress(_own_first(jobs), "fits"):
        try:
            made[job] = fit(job)
        except Busy:
            others.append(job)
    for job in progress(others, "fits of other processes") if others else ():
        made[job] = _awaited(job, fit)
    return {job: made[job] for job in jobs}


def sweep_unfinished(folder: Path) -> None:
    """Removes the checkpoints of fits on which nobody works.

    Args:
        folder: `unfinished` of a run all of whose fits are made, or a place where there is none.
    """
    for unfinished in sorted(folder.glob("*/")):
        try:
            with working_in(unfinished):
                rmtree(unfinished)
        except Busy:
            continue
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _own_first(jobs: Sequence[Job]) -> list[Job]:
    state = processes()
    size = state.num_processes
    return [job for place in range(size) for job in jobs[(state.process_index + place) % size :: size]]


def _awaited(job: Job, fit: Callable[[Job], Made]) -> Made:
    while True:
        try:
            return fit(job)
        except Busy:
            time.sleep(PAUSE)
