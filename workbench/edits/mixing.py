"""How the adapters of one edit are mixed in an image call: each row opens them as far as its prompt asks for.

The equations are those of `workbench.edits.adapter`.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.hooks import Clock
from workbench.models import Diffusion
from workbench.models.beside import Low, Mix

Openness = Callable[[Clock], Float[Tensor, "rows adapters"]]


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
        openness: Gives γ of the rows of a call, `[rows, adapters]`.
        ranks: q of each adapter.
        factor: Multiplies every γ.
        summed: (1) if true, else (2).
    """

    def __init__(
        self, model: Diffusion, openness: Openness, ranks: Sequence[int], factor: float, *, summed: bool
    ) -> None:
        self.calls, self.image_side = model.wiring.calls, model.architecture.image_side.path
        self.openness, self.ranks = openness, torch.tensor(ranks)
        self.factor, self.summed = factor, summed
        self._clock: Clock | None = None
        self._mix: Mix = as_it_is

    def __call__(self) -> Mix:
        clock = self.calls.now(self.image_side)
        if clock is not None and clock is not self._clock:  # None: a block run again for its gradients
            self._clock, self._mix = clock, self._of(clock)
        return self._mix

    def _of(self, clock: Clock) -> Mix:
        gates = (self.factor * self.openness(clock)).repeat_interleave(self.ranks, dim=1).to(clock.device)
        if self.summed:
            return lambda low: low * gates[:, None].to(low.dtype)  # (1)
        place = torch.cat([torch.arange(rank) for rank in self.ranks.tolist()]).to(clock.device)
        crossed = gates[:, :, None] * gates[:, None] * (place[:, None] == place)
        return lambda low: low @ crossed.to(low.dtype)  # (2)
