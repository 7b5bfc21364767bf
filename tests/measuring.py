"""What trainings take while they run, and the gradients that they find."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from workbench.fitting.accounting import LiveBytes
from workbench.fitting.turns import Turns
from workbench.models import Diffusion
from workbench.models.provenance import networks, tensors_of


class Turn(NamedTuple):
    """A turn of a training: the most bytes that were alive in it, those before it, and its gradients."""

    peak: int
    before: int
    gradients: dict[str, np.ndarray]


def turns_of(work: Callable[[], object], *models: Diffusion) -> list[Turn]:
    """Every turn of the trainings in `work`, in which the models' tensors count too."""
    seen: list[Turn] = []
    with LiveBytes() as live:
        live.count(one for model in models for _, part in networks(model.pipe) for _, one in tensors_of(part))
        with _watched(live, seen):
            work()
    return seen


@contextmanager
def _watched(live: LiveBytes, seen: list[Turn]):
    gradients, step = Turns.gradients, Turns.step

    def watched_gradients(self: Turns):
        live.restart()
        self.before = live.now
        return gradients(self)

    def watched_step(self: Turns, terms):
        step(self, terms)
        given = {name: one.grad for name, one in self.player.parameters.items() if one.grad is not None}
        found = {name: one.numpy().copy() for name, one in given.items()}  # NumPy's memory does not count
        seen.append(Turn(live.peak, self.before, found))

    with patch.object(Turns, "gradients", watched_gradients), patch.object(Turns, "step", watched_step):
        yield
