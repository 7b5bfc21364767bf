"""The one error that users see: what is wrong, and what to do about it."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any


class WorkbenchError(Exception):
    """A problem that the user can solve. `str()` gives both sentences, which is all that the command line prints.

    Args:
        problem: one sentence on what is wrong.
        remedy: one sentence on what to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in the place of frames; `%tb` and `%debug` still have those."""
        return [f"{type(self).__name__}: {self.problem}", self.remedy]


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> WorkbenchError:
    """The error for a name that is not valid; its remedy leads with the nearest valid names.

    Args:
        kind: the noun that the user knows ("site", "method", "key").
        name: what was given.
        valid: the names that there are.

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(valid)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        remedy = f"Did you mean {' or '.join(map(repr, near))}?"
    elif names:
        remedy = f"Valid names: {', '.join(names[:40])}{' …' if len(names) > 40 else ''}."
    else:
        remedy = f"There is no {kind} here at all."
    return WorkbenchError(f"Unknown {kind} {name!r}.", remedy)


def check_keys(given: Iterable[Any], known: Collection[str], where: str = "") -> None:
    """Looks for keys that nobody knows.

    Args:
        given: the keys.
        known: those that there are.
        where: the file or option to blame, if the user gave one.

    Raises:
        WorkbenchError: a key is not known; the nearest one is named.
    """
    for key in given:
        if key not in known:
            error = unknown_name("key", str(key), known)
            raise WorkbenchError(f"{where}: {error.problem}" if where else error.problem, error.remedy)


def check_at_least(least: int, **values: int | float) -> None:
    """Refuses numbers that are too small, or no numbers at all.

    Args:
        least: the smallest that is taken.
        **values: what is checked, by the names that the user knows.

    Raises:
        WorkbenchError: for the first that is smaller than `least`, or NaN.
    """
    for name, value in values.items():
        if not value >= least:
            raise WorkbenchError(f"{name} is {value}.", f"Choose {least} or more.")
