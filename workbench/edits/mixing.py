"""How the adapters of one edit are mixed in an image call: each row opens them as far as its prompt asks for.

The equations are those of `workbench.edits.adapter`.
"""

from collections.abc import Sequence

import torch

from workbench.edits.gating import Gating
from workbench.hooks import Clock
from workbench.models import Diffusion
from workbench.models.beside import Low, Mix


def as_it_is(low: Low) -> Low:
    """No gate: the product of all adapters as it is.

    Args:
        low: d x of all adapters.

    Returns:
        The very same.
    """
    return low


class Mixing:
    """M of `beside` for the call that the picture side is in: γ of its rows, worked out once a call.

    Args:
        model: The model that the adapters are beside.
        gating: Gives γ of prompts.
        ranks: q of each adapter.
        factor: Multiplies every γ.
        summed: (1) if true, else (2).
    """

    def __init__(self, model: Diffusion, gating: Gating, ranks: Sequence[int], factor: float, *, summed: bool) -> None:
        self.calls, self.image_side = model.wiring.calls, model.architecture.image_side.path
        self.gating, self.ranks = gating, torch.tensor(ranks)
        self.factor, self.summed = factor, summed
        self._clock: Clock | None = None
        self._mix: Mix = as_it_is

    def __call__(self) -> Mix:
        clock = self.calls.now(self.image_side)
        if clock is not None and clock is not self._clock:  # None: a block run again for its gradients
            self._clock, self._mix = clock, self._of(clock)
        return self._mix

    def _of(self, clock: Clock) -> Mix:
        ones = torch.ones(len(clock.roles), len(self.ranks), dtype=torch.float64)
        gates = ones if clock.prompts is None else self.gating.of(clock.prompts)
        gates = (self.factor * gates).repeat_interleave(self.ranks, dim=1).to(clock.device)
        if self.summed:
            return lambda low: low * gates[:, None].to(low.dtype)  # (1)
        place = torch.cat([torch.arange(rank) for rank in self.ranks.tolist()]).to(clock.device)
        crossed = gates[:, :, None] * gates[:, None] * (place[:, None] == place)
        return lambda low: low @ crossed.to(low.dtype)  # (2)
