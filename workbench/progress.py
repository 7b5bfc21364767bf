"""Visible progress for the command line and notebooks: one bar a label, on the error stream. And times in words.

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


def duration(seconds: float) -> str:
    """Seconds as a reader wants them.

    Args:
        seconds: 0 or more.

    Returns:
        Such as "0.42 s", "12 s", "3.5 min", "2.4 h".
    """
    if seconds >= 5940:  # 99 minutes
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.2g} min" if seconds >= 100 else f"{seconds:.2g} s"
