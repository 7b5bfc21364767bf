"""Free tokens of prompts, moved by gradients of what the edited model predicts: what attacks on tokens have in common.

They differ in what stands for a free token while it is sought (`FreeTokens`) and in what is to be said (`Lessons`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from workbench.attacks.gates import Treatment
from workbench.attacks.pursuit import Chase
from workbench.attacks.reach import reaching
from workbench.attacks.tokens import Slots
from workbench.attacks.trying import Try
from workbench.attacks.wording import worded
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.model import Change


class Chosen(NamedTuple):
    """Tokens of free places, and embeddings that carry a gradient to what they were chosen by."""

    ids: Int64[Tensor, " slots"]
    embeddings: Float[Tensor, "slots d"]


Lessons = Callable[[Sequence[int], int], Sequence[Any]]  # of these chases, in the round of this number: `lessons`


@runtime_checkable
class FreeTokens(Protocol):
    """What stands for the free tokens of each chase while they are sought."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """One for each chase."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Over all of them."""
        ...

    def chosen(self, chases: Sequence[int]) -> Chosen:
        """The tokens that the model is shown in the next step, chase after chase."""
        ...

    def settled(self, chase: int) -> Int64[Tensor, " slots"]:
        """The tokens that are tried."""
        ...

    def kept(self, parameter: Tensor) -> Tensor:
        """A parameter after a step, brought back to where it may be."""
        ...


@dataclass(frozen=True, eq=False)
class TokenSearch:
    """A `Pursuit` of tokens.

    Args:
        model: The model, without the edit.
        edit: What is attacked.
        gate: How its decisions are treated.
        guidance_scale: As for `reach.reaching`.
        rows: What is attacked, and
        chases: in which branches.
        prompts: A prompt for each chase.
        free: Its free tokens.
        lessons: What a round teaches them; asked outside the edit.
    """

    model: Model
    edit: Change
    gate: Treatment
    guidance_scale: float | None
    rows: Sequence[SuiteRow]
    chases: Sequence[Chase]
    prompts: Slots
    free: FreeTokens
    lessons: Lessons

    def improve(self, chases: Sequence[int], number: int) -> None:
        """A gradient step for each lesson of the round."""
        lessons = self.lessons(chases, number)
        through = reaching(self.model, self.edit, self.gate, guidance_scale=self.guidance_scale)
        with torch.enable_grad(), through as reach:
            for lesson in lessons:
                self._step(chases, self.losses(reach, chases, lesson))

    def losses(self, reach: Any, chases: Sequence[int], lesson: Any) -> Float[Tensor, " chases"]:
        """How far what each prompt makes the edited model say is from what it should, and what a held gate adds."""
        prompts = self.prompts.of(chases).embedded(*self.free.chosen(chases))
        return reach.losses(lesson, prompts, [self.chases[one].branch for one in chases])

    def proposal(self, chase: int) -> Try:
        """The prompt with its tokens as they are settled now: as text, or as ids where text would be read otherwise."""
        text, given = worded(self.model, self.prompts.of([chase]).filled(self.free.settled(chase)))
        return Try(self.rows[self.chases[chase].row], text, given)

    def _step(self, chases: Sequence[int], losses: Float[Tensor, " chases"]) -> None:
        """A loss moves the tokens of its own chase alone; those that are not asked keep their place and their state."""
        own = [self.free.parameters[one] for one in chases]
        self.free.optimizer.zero_grad(set_to_none=True)
        for parameter, grad in zip(own, torch.autograd.grad(losses.sum(), own), strict=True):
            parameter.grad = grad
        self.free.optimizer.step()
        for parameter in own:
            parameter.data = self.free.kept(parameter.data)
