"""Generations in the background: one worker with the one model, a queue before it, and a job a browser asked for.

While no job waits, the worker does what was put behind them, a piece at a time.

A browser knows its job by an id that nobody else has, so that two of them never see each other's pictures. Whatever
goes wrong in a job becomes its message; the worker takes the next one.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Lock, Thread
from typing import Any, Generic, Literal, TypeVar
from uuid import uuid4

from saes.errors import WorkbenchError
from saes.progress import Item, Progress

KEPT = 64  # jobs, the oldest are forgotten
Result = TypeVar("Result")
State = Literal["waiting", "running", "done", "failed", "stopped"]


class _Stop(Exception):
    """Raised inside a job that was told to stop."""


@dataclass(eq=False)
class Job(Generic[Result]):
    """One piece of work: `share` of it is done, in [0, 1]; `message` says what it does, or why it failed."""

    work: Callable[[Progress], Result]
    id: str = field(default_factory=lambda: uuid4().hex)
    state: State = "waiting"
    share: float = 0.0
    message: str = "Waiting for other work to end."
    result: Result | None = None
    stopping: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it is done, failed or stopped."""
        return self.state in ("done", "failed", "stopped")

    def progress(
        self, items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
    ) -> Iterator[Item]:
        """A `Progress` that a browser can ask for; between two items the job can be stopped.

        Args:
            items: What is worked on; all of them are drawn first.
            label: What the work is.
            total: Not needed.
            note: What to say beside the label.

        Yields:
            The items.

        Raises:
            _Stop: The job was told to stop. The worker catches it.
        """
        items = list(items)
        for number, item in enumerate(items):
            if self.stopping:
                raise _Stop
            self.message, self.share = f"{label} {note()}" if note else label, number / len(items)
            yield item


class Jobs(Generic[Result]):
    """The queue and its worker, which starts with the first job and ends with the process."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job[Result]] = OrderedDict()
        self._queue: Queue[Job[Result] | None] = Queue()
        self._behind: Callable[[], bool] = _nothing
        self._lock = Lock()
        self._worker: Thread | None = None

    def submit(self, work: Callable[[Progress], Result]) -> str:
        """Puts work into the queue.

        Args:
            work: Called by the worker, with a progress.

        Returns:
            The id under which `look` finds it.
        """
        job = Job(work)
        with self._lock:
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT and next(iter(self._jobs.values())).is_over:
                self._jobs.popitem(last=False)
        self._put(job)
        return job.id

    def behind(self, work: Callable[[], bool]) -> None:
        """Does work a piece at a time whenever no job waits; put there again, it goes on.

        Args:
            work: Does a piece, raises nothing, and says whether another one can follow at once.
        """
        self._behind = work
        self._put(None)

    def _put(self, job: Job[Result] | None) -> None:
        self._queue.put(job)
        with self._lock:
            if self._worker is None:
                self._worker = Thread(target=self._run, name="generation", daemon=True)
                self._worker.start()

    def look(self, id: str | None) -> Job[Result] | None:
        """Finds a job.

        Args:
            id: Its own.

        Returns:
            The job; None if there is none, or it was long ago.
        """
        with self._lock:
            return self._jobs.get(id or "")

    def stop(self, id: str | None) -> None:
        """Asks a job to end at its next chance. One that is over, or unknown, is left alone.

        Args:
            id: Its own.
        """
        if job := self.look(id):
            job.stopping = True

    def _run(self) -> None:
        more = False
        while True:
            try:
                job = self._queue.get(block=not more)
            except Empty:
                more = self._behind()
                continue
            if job is None:
                more = True
            else:
                _do(job)


def _nothing() -> bool:
    return False


def _do(job: Job[Any]) -> None:
    job.state = "running"
    try:
        if job.stopping:
            raise _Stop
        job.result = job.work(job.progress)
        job.state, job.share, job.message = "done", 1.0, ""
    except _Stop:
        job.state, job.message = "stopped", "Stopped."
    except WorkbenchError as error:
        job.message, job.state = str(error), "failed"
    except Exception as error:  # the server must outlive whatever a model may raise
        logging.getLogger(__name__).exception("A generation failed.")
        job.message = f"The generation failed: {type(error).__name__}: {error}. The dashboard goes on."
        job.state = "failed"
