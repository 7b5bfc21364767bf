"""Edits of the negative prompt: guidance leads away from a text, where it led away from the empty prompt."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.edits.controls import DIRECTIONS, exchange, exchanged
from workbench.edits.edit import Summary
from workbench.edits.fields import EditFields
from workbench.edits.guidance import BranchFields, apply_turn, check_width
from workbench.models import Janus, Model
from workbench.models.diffusion.guiding import Guide, Joined, Prediction, Rule
from workbench.models.diffusion.model import as_diffusion

CODES = "codes"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PromptEdit(BranchFields):
    """`text` is the negative prompt of every picture; one that the caller gives as well comes before it, with a comma.

    `width` is the channels of what both branches predict: of latents, or in a Janus the codes of its codebook, and then
    `settings["over"]` is "codes". The control's `turn` turns what the text adds to the branch without prompt, by a
    right angle in these channels; for that, the empty prompt is one more branch.
    """

    kind: ClassVar[str] = "prompt"

    def check(self, model: Model) -> None:
        """Raises `WorkbenchError` for another model, other channels, and guidance without unconditional rows."""
        if not isinstance(model, Janus):
            super().check(as_diffusion(model, "The negative prompt"))
            return
        EditFields.check(self, model)
        check_width(self, model.n_codes, model.name)

    def installed(self, model: Model) -> AbstractContextManager[None]:
        """The text is the negative prompt of all that the model generates."""
        self.check(model)
        turn = self.tensors.get("turn")
        if isinstance(model, Janus):
            return _in_janus(model, self.text, turn)
        guides = [] if turn is None else [turned_prompt(turn.to(model.device))]
        return as_diffusion(model, "The negative prompt").guiding.installed(*guides, negative=self.text)

    def no_op(self) -> "PromptEdit":
        """The empty text."""
        return replace(self, text="", tensors={}, settings={}, method="no-op")

    def random(self, seed: int = 0) -> "PromptEdit":
        """The same text, what it adds to a prediction turned by a random right angle: as far, about something else.

        Over the codes of a codebook, of which there are thousands, the right angle is that of `controls.exchange`.
        """
        if self.settings.get("over") != CODES:
            return super().random(seed)
        turn = exchange(self.width, torch.Generator().manual_seed(seed))
        return replace(self, tensors={"turn": turn}, method=f"{DIRECTIONS} like {self.method}", seed=seed)

    def rows(self, model: Model | None = None) -> list[dict[str, Any]]:
        """A row for the branch whose text it is. Nothing inside the network changes."""
        if model is not None:
            self.check(model)
        return [{"branch": "without prompt, now of the text", "text": self.text, "rule": "negative prompt"}]

    def summary(self) -> Summary:
        """The text takes the place of another, so no branch is added."""
        return Summary("the negative prompt", DIRECTIONS)

    def _told(self) -> dict[str, Any]:
        return {"negative prompt": self.text}


def _in_janus(model: Janus, text: str, turn: Tensor | None) -> AbstractContextManager[None]:
    if turn is None:
        return model.guiding.installed(text)
    signed = turn.to(model.device)
    return model.guiding.installed(text, lambda change: exchanged(change, signed))


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
