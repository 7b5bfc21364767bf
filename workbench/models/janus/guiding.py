"""What edits in place do to the guidance of a Janus: a text stands where its unconditional rows hold padding.

    unconditional    [BOS] PAD … … … … … … … … … … [BOI]
    negative         [BOS] <|User|>: fox <|Assistant|>: [BOI]        in its layout, and guidance leads away from it
A control turns what the text does to the logits of the next token, for which the padded rows are read too, as rows of
no picture:
    (1)  z_n ← z_∅ + Q (z_n − z_∅)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from saes.errors import WorkbenchError

Turn = Callable[[Tensor], Tensor]  # Q of (1), on `[rows, codes]`


class Guiding:
    """The negative texts of edits in place, and how the controls among them turn what these do."""

    def __init__(self) -> None:
        self.negatives: list[str] = []
        self.turns: list[Turn] = []

    @contextmanager
    def installed(self, negative: str, turn: Turn | None = None) -> Iterator[None]:
        """The text is joined to those in place, and the turn follows those in place, during the block."""
        before = self.negatives, self.turns
        self.negatives = [*self.negatives, *([negative] if negative else [])]
        self.turns = [*self.turns, *([turn] if turn is not None else [])]
        try:
            yield
        finally:
            self.negatives, self.turns = before

    @property
    def text(self) -> str:
        """The negative texts, joined by commas; "" for plain guidance."""
        return ", ".join(self.negatives)

    def check(self, guidance_scale: float) -> None:
        """Raises `WorkbenchError` if an edit in place acts on guidance and there is none."""
        if guidance_scale <= 1 and self.negatives:
            raise WorkbenchError(
                f"The edit acts on guidance, and a guidance scale of {guidance_scale} leaves guidance out.",
                "Choose a guidance_scale above 1, or an edit that is not one of guidance.",
            )

    def joined(self, logits: Tensor) -> Tensor:
        """Logits of conditional and unconditional rows, from those of all rows that a call has: where there are turns,
        as many rows of the empty prompt come after them."""
        if not self.turns:
            return logits
        cond, negative, empty = logits.float().chunk(3)
        change = negative - empty
        for turn in self.turns:
            change = turn(change)
        return torch.cat([cond, empty + change])  # (1)
