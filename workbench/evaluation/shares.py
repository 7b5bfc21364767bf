"""Which fit makes which prompts, where a condition has several: each fit its share of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Shared(Protocol):
    """A row that may say to whose share it belongs."""

    @property
    def prompt(self) -> str:
        """Its prompt."""

    @property
    def role(self) -> str:
        """Its role."""

    @property
    def share(self) -> int | None:
        """The share to which it belongs; None where it is dealt out."""


def shares_of(rows: Sequence[Shared], n_shares: int) -> tuple[int, ...]:
    """The share to which each row belongs, from 0.

    Rows of one prompt belong together, since what they show is one observation of a fit; those of each role are dealt
    out in turn. A row that says its share has it: what attacks one fit belongs to that fit.

    Args:
        rows: All rows of a suite, in its order.
        n_shares: How many there are: as many as fits of a condition.
    """
    found: dict[str, int] = {}
    dealt: Counter[str] = Counter()
    for row in rows:
        if row.share is None and row.prompt not in found:
            found[row.prompt] = dealt[row.role] % n_shares
            dealt[row.role] += 1
    return tuple(found[row.prompt] if row.share is None else row.share for row in rows)
