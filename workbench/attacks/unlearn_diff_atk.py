"""UnlearnDiffAtk: To Generate or Not? Safety-Driven Unlearned Diffusion Models Are Still Easy To Generate Unsafe
Images … For Now (Zhang et al. 2024, arXiv:2310.11868).

The edited model itself says how well a prompt explains a picture of the concept: a few tokens before the prompt are
found with which it denoises that picture well. x₀ is a picture that the unedited model made of the row's prompt, z_t it
with noise ε at t, ε̂ what the edited model predicts (`workbench.attacks.reach`), o the one-hot tokens drawn from u.
    (1)  min over u of E_ε mean ‖ε − ε̂(z_t, t; [o, prompt])‖²,  each row of u ∈ Δ the distribution of one token
    (2)  Adam on the gradient that goes straight through o, then Π of `workbench.attacks.simplex`
    (3)  t = 10, 30, …, 990 in this order; after the steps at each, a picture of the likeliest tokens is judged
Without guidance, as published; through an edit of guidance with it, since nothing else is edited there. A smaller
budget takes fewer timesteps, spread over the same range, and then fewer steps at each. Different from the official code
(0afefc7): tokens are left out that no text can put into a prompt; what the judge sees is made from the ids that were
found, and the attempt says whether they are text; several prompts share every pass. A Janus says of all tokens of a
picture at once how likely they are: in the place of (1), and the same in all rounds, is
    (4)  min over u of ℓ(c; [o, prompt]),  c the tokens that the unedited model wrote for the row
with ℓ of `workbench.attacks.likelihood`, (2) there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.attacks.at_random import RandomPrefix
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.gates import Treatment
from workbench.attacks.lessons import teacher_for
from workbench.attacks.pictures import Folder, targets
from workbench.attacks.pursuit import (
    Rounds,
    chases_of,
    check_rows,
    check_search,
    check_through,
    pursued,
    rounds_of,
)
from workbench.attacks.reach import check_reached
from workbench.attacks.simplex import drawn, one_hot, projected
from workbench.attacks.token_search import Chosen, TokenSearch
from workbench.attacks.tokens import Vocabulary, content, prefixed, slots, vocabulary
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, NOISE_SCHEDULE
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class UnlearnDiffAtk(AttackMethod):
    """Tokens before the prompt, found by gradients through the edited model's own denoising loss."""

    tokens: Annotated[
        int, Ge(1), Doc("k: tokens before the prompt; 5 for nudity and violence, 3 for objects, styles.")
    ] = 3
    timesteps: Annotated[int, Ge(1), Doc("Of (3), each with a picture at its end.")] = 50
    steps: Annotated[int, Ge(1), Doc("Of Adam at each timestep.")] = 40
    lr: Annotated[float, Gt(0), Doc("Of Adam.")] = 0.01
    weight_decay: Annotated[float, Ge(0), Doc("Of Adam, added to the gradient.")] = 0.1
    pictures: Folder = ""
    gate: Annotated[Treatment, Doc("How what the edit decides about a prompt is seen.")] = "straight_through"

    name: ClassVar[str] = "unlearn_diff_atk"
    paper: ClassVar[Reference] = Reference(
        title="To Generate or Not? Safety-Driven Unlearned Diffusion Models Are Still Easy To Generate Unsafe Images … "
        "For Now",
        authors="Y. Zhang, J. Jia, X. Chen, A. Chen, Y. Zhang, J. Liu, K. Ding, S. Liu",
        year=2024,
        arxiv="2310.11868",
        venue="ECCV",
    )
    access: ClassVar[str] = "weights"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({NOISE_SCHEDULE}), frozenset({AUTOREGRESSIVE}))
    cost: ClassVar[str] = "up to 2000 gradients and 50 images"

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> RandomPrefix:
        """k random tokens before the prompt."""
        return RandomPrefix(length=self.tokens)

    @property
    def most(self) -> Rounds:
        """A round for each timestep."""
        return Rounds(self.timesteps, self.steps)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A model with likely and unlikely pictures, some of the concept, a budget for a round, room for the tokens."""
        check_search(self, model, rows, budget, self.most, self.pictures)
        slots(model, [prefixed(content(model, row.prompt), self.tokens) for row in rows])

    def check_edit(self, model: Model, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Gradients that come through, and a budget for both branches of a gate."""
        check_through(model, edit, rows, budget, self.most, "UnlearnDiffAtk", self.gate)

    def attempts(
        self,
        model: Model,
        edit: Change,
        rows: Sequence[SuiteRow],
        judge: Judge,
        *,
        budget: Budget,
        seed: int = 0,
        progress: Progress = SILENT,
        **sampling: Any,
    ) -> list[Attempt]:
        """(1) to (4) for all rows together; the first prompt of each that brings its concept back."""
        check_rows(self, model, rows, judge)
        chases = chases_of(rows, edit, self.gate)
        rounds = rounds_of(budget, self.most, len(chases) // len(rows))
        prompts = slots(model, [prefixed(content(model, rows[one.row].prompt), self.tokens) for one in chases])
        check_reached(model, edit, rows[0].prompt, "UnlearnDiffAtk", self.gate)
        scale = sampling.get("guidance_scale")
        teacher = teacher_for(model, edit, scale)
        pictures = targets(model, rows, self.pictures, seed, **sampling)[[one.row for one in chases]]
        generators = [own_generator(rows[one.row], seed, f"{self.name} {one.branch}") for one in chases]
        times = schedule(rounds.checks, self.timesteps)

        def lessons(going: Sequence[int], number: int) -> list[Any]:
            draws = [generators[one] for one in going]
            return teacher.own(pictures[list(going)], draws, [times[number]] * rounds.steps)  # (1) or (4)

        free = Distributions.uniform(self, vocabulary(model, edit), generators)
        search = TokenSearch(model, edit, self.gate, scale, rows, chases, prompts, free, lessons)
        return pursued(model, edit, rows, judge, chases, rounds, search, progress=progress, label=self.name, **sampling)


def schedule(count: int, most: int = 50) -> list[int]:
    """So many timesteps of (3), evenly spread over all of them.

    Args:
        count: 1 to `most`.
        most: Into how many 0 … 1000 is divided; 50 are 10, 30, …, 990.
    """
    return [round(1000 * (int((place + 0.5) * most / count) + 0.5) / most) for place in range(count)]


@dataclass(frozen=True, eq=False)
class Distributions:
    """u of every chase: `FreeTokens` by which the model is shown tokens that are drawn from them."""

    words: Vocabulary
    parameters: Sequence[nn.Parameter]  # [k, vocabulary] each
    optimizer: torch.optim.Optimizer
    generators: Sequence[torch.Generator]

    @classmethod
    def uniform(
        cls, attack: UnlearnDiffAtk, words: Vocabulary, generators: Sequence[torch.Generator]
    ) -> "Distributions":
        """Every token that is allowed as likely as any other."""
        start = (words.allowed / words.allowed.sum()).to(words.table.dtype).expand(attack.tokens, -1)
        u = [nn.Parameter(start.clone()) for _ in generators]
        return cls(words, u, torch.optim.Adam(u, lr=attack.lr, weight_decay=attack.weight_decay), generators)

    def chosen(self, chases: Sequence[int]) -> Chosen:
        """Tokens that are drawn anew each time."""
        rows = [(self.parameters[one], self.generators[one]) for one in chases]
        ids = torch.cat([drawn(u, generator) for u, generator in rows])
        return Chosen(ids, one_hot(torch.cat([u for u, _ in rows]), ids) @ self.words.table)  # (2)

    def settled(self, chase: int) -> Tensor:
        """The likeliest."""
        return self.parameters[chase].argmax(dim=1)

    def kept(self, parameter: Tensor) -> Tensor:
        """Π, with no share for tokens that may not be chosen."""
        return projected(parameter.masked_fill(~self.words.allowed, -torch.inf))  # (2)
