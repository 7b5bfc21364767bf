"""How a player trains: how long, how fast, when it stops; and what is known of it afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from diffusers.optimization import get_scheduler
from torch import nn

from saes.errors import WorkbenchError, unknown_name

SCHEDULES = ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial")
WINDOW = 20  # steps whose mean loss decides whether a training still improves


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how fast, and with what: AdamW.

    Args:
        steps: Turns of the player, 1 or more.
        lr: The highest learning rate, more than 0.
        betas: Those of AdamW.
        eps: AdamW's, more than 0.
        weight_decay: AdamW's, 0 or more; 0 makes it Adam.
        schedule: One of diffusers' (`SCHEDULES`), after the warmup.
        warmup: Steps over which the rate rises, 0 or more.
        cycles: Those of "cosine_with_restarts", 1 or more.
        micro_batches: Losses whose mean is minimised in a step, 1 or more.
        clip: The largest norm of the gradient of all parameters together, more than 0; None does not clip.
        ema: Decay of a moving average of the weights, between 0 and 1; the average is then what comes out.
        patience: Stops when the mean loss of `WINDOW` steps has had no new minimum for so many steps, 1 or more.
        autocast: "bfloat16" computes losses in it while the weights stay in float32; "measured" where that is faster
            here.

    Raises:
        WorkbenchError: A value is out of its range, or the schedule is unknown.
    """

    steps: int
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    schedule: str = "constant"
    warmup: int = 0
    cycles: int = 1
    micro_batches: int = 1
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    autocast: Literal["no", "bfloat16", "measured"] = "no"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        for name in ("steps", "cycles", "micro_batches", "patience"):
            _expect(name, getattr(self, name), lambda value: value >= 1, "1 or more")
        for name in ("lr", "clip", "eps"):
            _expect(name, getattr(self, name), lambda value: value > 0, "more than 0")
        for name in ("warmup", "weight_decay"):
            _expect(name, getattr(self, name), lambda value: value >= 0, "0 or more")
        _expect("ema", self.ema, lambda value: 0 < value < 1, "a number between 0 and 1")


def _expect(name: str, value: float | int | None, holds: Callable[[float], bool], wanted: str) -> None:
    if value is not None and not holds(value):
        raise WorkbenchError(f"{name} is {value}.", f"Choose {wanted}.")


class History(NamedTuple):
    """What a player's turns were like.

    `terms` are those of the loss before each turn, by name: an empty mapping for a turn that the loss skipped.
    `stopped_early` says whether the player's `patience` ended its training before its plan did.
    """

    terms: list[dict[str, float]]
    stopped_early: bool = False

    @property
    def losses(self) -> list[float]:
        """The sums of the terms, of all turns that were not skipped."""
        return [sum(one.values()) for one in self.terms if one]

    @property
    def skipped(self) -> int:
        """Turns in which the loss was None, so that nothing was learnt."""
        return sum(not one for one in self.terms)


def rates(plan: Plan) -> Callable[[int], float]:
    """The learning rate of each step.

    Args:
        plan: Names one of diffusers' schedules.

    Returns:
        A function of the step, from 0.
    """
    name = "constant_with_warmup" if plan.schedule == "constant" and plan.warmup else plan.schedule
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=plan.lr)
    factor = get_scheduler(
        name, idle, num_warmup_steps=plan.warmup, num_training_steps=plan.steps, num_cycles=plan.cycles
    ).lr_lambdas[0]
    return lambda step: plan.lr * factor(step)


def stops_early(losses: list[float], patience: int) -> bool:
    """Whether a training has ceased to improve.

    Args:
        losses: One of each step so far.
        patience: Steps, 1 or more.

    Returns:
        Whether the mean of the last `WINDOW` losses has had no new minimum for `patience` steps.
    """
    if len(losses) < WINDOW + patience:
        return False
    means = np.convolve(losses, np.ones(WINDOW) / WINDOW, mode="valid")
    return len(means) - 1 - int(means.argmin()) >= patience
