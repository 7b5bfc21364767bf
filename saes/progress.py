"""How long work tells how far it is, without knowing who listens."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")


@runtime_checkable  # the shape checker of the tests can check no other kind
class Progress(Protocol):
    """Wraps what a loop runs over: `for prompt in progress(prompts, "harvest"): …`."""

    def __call__(
        self, items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
    ) -> Iterator[Item]:
        """Yields `items` unchanged.

        Args:
            items: what the loop runs over.
            label: what is being done.
            total: number of items, where `items` has no length.
            note: says how it goes, such as a loss, after each item.
        """
        ...


def SILENT(
    items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
) -> Iterator[Item]:
    """The progress that shows nothing: the default everywhere, so that a library call prints nothing.

    Args:
        items: what the loop runs over.
        label: not used.
        total: not used.
        note: not used.

    Returns:
        The items unchanged.
    """
    yield from items
