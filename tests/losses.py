"""A loss that comes in parts (`workbench.fitting.players.Loss`), whole: with the graphs of all of its parts."""

from collections.abc import Iterator

from torch import Tensor

from workbench.fitting.players import Terms


def named(parts: Iterator[Terms]) -> dict[str, Tensor]:
    """The terms by name, those of one name added up."""
    found: dict[str, Tensor] = {}
    for terms in parts:
        for name, term in terms.items():
            found[name] = found[name] + term if name in found else term
    return found


def total(parts: Iterator[Terms]) -> Tensor:
    """Their sum."""
    return sum(named(parts).values())
