"""Who trains: parameters with a loss, an optimiser and turns of their own; and what is carried from turn to turn.

One player is a fine-tuning. Two are an adversarial training: each learns in its own turns, by its own loss, and the
other's parameters ask for no gradient meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.fitting.plan import Plan
from workbench.processes import team

Terms = Mapping[str, Tensor]
Loss = Callable[[int, torch.Generator], Tensor | Terms | Iterator[Terms] | None]
Gradients = Mapping[str, Tensor]  # by the parameter's name; a parameter on which nothing depends is not among them
Combine = Callable[[Mapping[str, Gradients]], Gradients]


@runtime_checkable
class Stateful(Protocol):
    """What a training carries from turn to turn beside its weights, and keeps in its checkpoints."""

    def state_dict(self) -> Mapping[str, Any]:
        """What is carried, by name.

        Returns:
            Tensors, and values that JSON can say.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Args:
            state: The same names; the tensors come on the CPU.
        """
        ...


@dataclass(frozen=True, eq=False)
class Player:
    """Parameters that learn together.

    Args:
        parameters: By names of one's own choice; in float32 or finer.
        loss: (step, generator) → a scalar, or scalars by name whose sum is minimised, or an iterator over such
            mappings: each has a graph of its own, which is gone before the next is asked for, so that the memory of a
            turn is that of its largest part. `step` counts the player's own turns from 0. All that is random comes from
            `generator`. None skips the turn: no parameter, no moment of the optimiser and no average changes, while the
            schedule goes on.
        plan: How long and how fast.
        every: The player has a turn in every so many rounds of the training, from the first on; 1 or more.
        combine: Gradients by term → gradients, before clipping. Each term then goes backward by itself; without it
            their sum does. What it returns is changed in place (clipping). If it is `Stateful`, it is
            in the checkpoints.

    Raises:
        WorkbenchError: `every` is less than 1.
    """

    parameters: Mapping[str, nn.Parameter]
    loss: Loss
    plan: Plan
    every: int = 1
    combine: Combine | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise WorkbenchError(f"every is {self.every}.", "Choose 1 or more.")


class KeptGradients:
    """A `combine` that never forgets: each turn goes along the sum of the gradients of all turns so far, as with an
    optimiser whose gradients are never zeroed."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def __call__(self, gradients: Mapping[str, Gradients]) -> Gradients:
        """The sums, of those parameters that have a gradient in this turn."""
        fresh = summed(gradients)
        self.sums |= {name: self.sums[name].to(one) + one if name in self.sums else one for name, one in fresh.items()}
        return {name: self.sums[name].clone() for name in fresh}  # clipping happens in place

    def state_dict(self) -> Mapping[str, Any]:
        """The sums so far.

        Returns:
            By parameter.
        """
        return dict(self.sums)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from sums.

        Args:
            state: What `state_dict` gave.
        """
        self.sums = dict(state)


def summed(gradients: Mapping[str, Gradients]) -> dict[str, Tensor]:
    """Gradients by term → their sum.

    Args:
        gradients: By term, then by parameter.

    Returns:
        By parameter, for all that occur; terms are added in their order.
    """
    total: dict[str, Tensor] = {}
    for term in gradients.values():
        for name, one in term.items():
            total[name] = total[name] + one if name in total else one
    return total


def generator_of(seed: int, step: int, micro_batch: int = 0, player: str = "") -> torch.Generator:
    """The generator from which one loss draws.

    Args:
        seed: The training's, 0 or more.
        step: The player's, from 0.
        micro_batch: Its number in the step, from 0.
        player: The player's name, "" for one that trains alone.

    Returns:
        A CPU generator of its own: no loss depends on how much another one drew.
    """
    entropy = [seed, step, micro_batch, *player.encode()] if micro_batch or player else [seed, step]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def check(parameters: Mapping[str, nn.Parameter], plan: Plan) -> None:
    """For those who want to know before they begin.

    Args:
        parameters: What is to be trained.
        plan: How.

    Raises:
        WorkbenchError: There are no parameters, some are in half precision, which would lose such small steps, or the
            processes of a launch cannot share the micro-batches.
    """
    if not parameters:
        raise WorkbenchError("There is no parameter to train.", "Choose other ones.")
    check_precision(parameters.values())
    sharing = team().size
    if plan.micro_batches % sharing:
        raise WorkbenchError(
            f"{sharing} processes cannot share {plan.micro_batches} micro-batches a step.",
            "Give the method a multiple of the number of processes, or start fewer.",
        )


def check_precision(parameters: Iterable[nn.Parameter]) -> None:
    """Refuses weights that small steps would not change.

    Args:
        parameters: What is to be trained.

    Raises:
        WorkbenchError: Some are in half precision.
    """
    if any(torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise WorkbenchError("Weights in half precision cannot be fine-tuned.", "Load the model in torch.float32.")
