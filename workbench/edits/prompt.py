"""Edits of the negative prompt: guidance leads away from a text, where it led away from the empty prompt."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from workbench.edits.controls import DIRECTIONS
from workbench.edits.edit import Summary
from workbench.edits.guidance import BranchFields, apply_turn
from workbench.models import Diffusion
from workbench.models.diffusion.guiding import Guide, Joined, Prediction, Rule


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PromptEdit(BranchFields):
    """`text` is the negative prompt of every picture; one that the caller gives as well comes before it, with a comma.

    The control's `turn` turns what the text adds to the branch without prompt; for that, the empty prompt is one more
    branch.
    """

    kind: ClassVar[str] = "prompt"

    def installed(self, model: Diffusion) -> AbstractContextManager[None]:
        """The text is the negative prompt of all that the model generates."""
        self.check(model)
        turn = self.tensors.get("turn")
        guides = [] if turn is None else [turned_prompt(turn.to(model.device))]
        return model.guiding.installed(*guides, negative=self.text)

    def no_op(self) -> "PromptEdit":
        """The empty text."""
        return replace(self, text="", tensors={}, settings={}, method="no-op")

    def rows(self, model: Diffusion | None = None) -> list[dict[str, Any]]:
        """A row for the branch whose text it is. Nothing inside the network changes."""
        if model is not None:
            self.check(model)
        return [{"branch": "without prompt, now of the text", "text": self.text, "rule": "negative prompt"}]

    def summary(self) -> Summary:
        """The text takes the place of another, so no branch is added."""
        return Summary("the negative prompt", DIRECTIONS)

    def _told(self) -> dict[str, Any]:
        return {"negative prompt": self.text}


def turned_prompt(turn: Float[Tensor, "channels channels"]) -> Guide:
    """What the negative prompt adds to the prediction of the empty one, turned: ε_n ← ε_∅ + Q (ε_n − ε_∅).

    Args:
        turn: Q, `[channels, channels]`, on the model's device.

    Returns:
        A guide with the empty prompt as its branch.
    """

    def rule(joined: Joined, empty: Prediction | None, call: int) -> Joined:
        assert empty is not None, "the empty prompt is this guide's own branch"
        return joined._replace(uncond=empty + apply_turn(turn, joined.uncond - empty))

    def begin(steps: int) -> Rule:
        return rule

    return Guide(begin, "")
