"""What an edit decides about prompts, and how something else decides in its place: whoever asks what a gate hides.

An edit may act on a prompt as a whole or not at all (ItD), or as far as the prompt opens it (SPM).
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workbench.edits.gating import Gating
from workbench.hooks import Activation, Clock


class Decision(NamedTuple):
    """What a program makes of prompts before it decides: it acts on those whose score is the threshold or more, and
    leaves the others as they are."""

    rows: Int64[Tensor, " found"]  # of the call: those that it decides about
    changed: Float[Tensor, "found positions channels"]  # if it acts
    score: Float[Tensor, " found"]
    threshold: Float[Tensor, ""]

    @property
    def acts(self) -> Tensor:
        """True for the rows on which it acts."""
        return self.score >= self.threshold


@runtime_checkable
class Gates(Protocol):
    """Decides in the place of an edit's own gates."""

    def acts(self, decision: Decision) -> Float[Tensor, " found"]:
        """How far each row is changed.

        Args:
            decision: What the edit would decide.

        Returns:
            0 for not at all, 1 for wholly. Gradients flow through.
        """
        ...

    def opens(self, clock: Clock, gating: Gating) -> Float[Tensor, "rows adapters"]:
        """How far each adapter opens for the rows of a call of the picture side.

        Args:
            clock: Of the call.
            gating: What the edit would ask.

        Returns:
            γ, 0 for not at all, 1 for wholly. Gradients flow through.
        """
        ...


def blended(x: Activation, decision: Decision | None, gates: Gates) -> Activation:
    """x with each row of a decision changed as far as the gates say.

    Args:
        x: The activation, `[rows, positions, channels]`.
        decision: None where there is none to make.
        gates: They decide.

    Returns:
        The new activation, or the very same without a decision.
    """
    if decision is None:
        return x
    share = gates.acts(decision)[:, None, None]
    before = x[decision.rows].to(decision.changed)
    after = torch.lerp(before, decision.changed, share.to(before))
    return x.index_put((decision.rows,), after.to(x.dtype))
