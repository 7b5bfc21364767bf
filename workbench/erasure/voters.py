"""Voters: who says which of several attributes an image shows, for methods that steer by what a model draws.

Reading the table imports none of them.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8

from saes.errors import WorkbenchError, unknown_name

VOTERS = {  # name → "module:function"; a voter of somebody else's is named by its own "module:function"
    "toy": "workbench.toy.voting:vote",
}


@runtime_checkable
class Voter(Protocol):
    """Which of some attributes (words) each image shows."""

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"], attributes: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """The attribute's place in the list, −1 for an image that shows none. Refuses attributes it does not know."""
        ...


def find_voter(name: str) -> Voter:
    """The voter of that name, or at "module:function". Raises `WorkbenchError` if there is none."""
    home = VOTERS.get(name, name)
    module, colon, function = home.partition(":")
    if not colon:
        raise unknown_name("voter", name, VOTERS)
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise WorkbenchError(
            f"The voter {name!r} cannot be imported ({error}).", "Name it as module:function of an installed package."
        ) from error
