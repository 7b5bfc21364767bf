"""The training loop of all methods that fine-tune: AdamW, one loss a step, the same result for the same seed."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress

Loss = Callable[[int, torch.Generator], Tensor]  # (step from 0, that step's generator) → a scalar


def descend(
    parameters: Iterable[nn.Parameter],
    loss: Loss,
    steps: int,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.01,
    clip: float | None = None,
    accumulate: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
    label: str = "training",
) -> list[float]:
    """Trains `parameters` in place for `steps` steps of AdamW, and returns the loss before each of them.

    `loss` draws whatever is random from the generator that it is given: a CPU generator made anew from (seed, step),
    so that no step depends on how much another one drew, nor on torch's own generator. `weight_decay=0` makes it Adam.
    `clip` is the largest norm that the gradient of all parameters together may have. `accumulate` never zeroes the
    gradients, so that every step goes along the sum of all so far: the slip of TRCE's official code. The parameters ask
    for gradients only while this runs. Raises `WorkbenchError` for weights in half precision, which would lose such
    small steps, and for a loss that is no longer finite.
    """
    trained = list(parameters)
    check_precision(trained)
    history = []
    with _asking_for_gradients(trained):
        optimiser = torch.optim.AdamW(trained, lr=lr, betas=betas, weight_decay=weight_decay)
        for step in progress(range(steps), label, steps):
            if not accumulate:
                optimiser.zero_grad()
            value = loss(step, generator_of(seed, step))
            history.append(_finite(float(value.detach()), step))
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(trained, clip)
            optimiser.step()
    return history


def generator_of(seed: int, step: int) -> torch.Generator:
    """A CPU generator of its own for this step."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))


@contextmanager
def _asking_for_gradients(trained: list[nn.Parameter]) -> Iterator[None]:
    before = [parameter.requires_grad for parameter in trained]
    try:
        for parameter in trained:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, wanted in zip(trained, before, strict=True):
            parameter.requires_grad_(wanted)
            parameter.grad = None


def check_precision(parameters: Iterable[nn.Parameter]) -> None:
    """Raises `WorkbenchError` for weights in half precision; for those who want to know before they begin."""
    if any(torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise WorkbenchError("Weights in half precision cannot be fine-tuned.", "Load the model in torch.float32.")


def _finite(value: float, step: int) -> float:
    if not math.isfinite(value):
        raise WorkbenchError(f"The loss of training step {step} is {value}.", "Choose a smaller learning rate.")
    return value
