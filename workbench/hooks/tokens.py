"""What the positions of a call stand for: the tokens of a prompt, the padding beside them, or the picture."""

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Int8, Int64
from torch import Tensor


class Place(IntEnum):
    """What one position stands for."""

    BEGIN = 0  # equal in every prompt, and the longest vector of a CLIP encoder
    WORD = 1  # the prompt's own tokens
    END = 2  # the first end token, which sums the prompt up; the begin-of-image token of a Janus
    PADDING = 3
    PICTURE = 4  # a pixel of the latents, or a token of the picture
    TEMPLATE = 5  # what a chat template puts around the words
    ABSENT = 6  # nothing that anything attends to, there so that prompts of several lengths fit into one tensor


Places = Int8[Tensor, "rows positions"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """What each position of a call holds, where prompt and picture are one sequence of tokens.

    Args:
        places: What it stands for.
        position: Number of the token in its own prompt, from 0; in a picture the number of its cell, row by row from
            the upper left. −1 where nothing is.
        ids: Id of the token; in a picture its code.
    """

    places: Places
    position: Int64[Tensor, "rows positions"]
    ids: Int64[Tensor, "rows positions"]

    def last(self, positions: int) -> "Tokens":
        """Those of the last so many positions."""
        return self._cut((slice(None), slice(-positions, None)))

    def between(self, first: int, last: int) -> "Tokens":
        """Those of the positions `first` … `last` − 1."""
        return self._cut((slice(None), slice(first, last)))

    def first_rows(self, rows: int) -> "Tokens":
        """Those of the first so many rows."""
        return self._cut((slice(rows), slice(None)))

    def _cut(self, part: tuple[slice, slice]) -> "Tokens":
        return Tokens(self.places[part], self.position[part], self.ids[part])
