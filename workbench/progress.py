"""Visible progress for the command line and notebooks: one bar a label, on the error stream.

Standard output stays free for results, so `--json` can be piped while bars are shown.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager

from saes.progress import Item, Progress


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Gives a `Progress` that draws bars until the block ends. A label met again (an inner loop) reuses its bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Bars(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def progress(
        items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
    ) -> Iterator[Item]:
        total = len(items) if total is None and isinstance(items, Sized) else total
        bars.start()  # with the first bar: nothing to do leaves no trace
        if label in tasks:
            bars.reset(tasks[label], total=total)
        else:
            tasks[label] = bars.add_task(label, total=total, note="")
        for item in items:
            yield item
            bars.update(tasks[label], advance=1, note=note() if note else "")

    try:
        yield progress
    finally:
        if tasks:
            bars.stop()
