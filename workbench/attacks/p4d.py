"""P4D: Prompting4Debugging: Red-Teaming Text-to-Image Diffusion Models by Finding Problematic Prompts (Chin et al.
2024, arXiv:2309.06135).

A prompt P is found with which the edited model predicts what the unedited one predicts for the prompt p of the concept.
z_t is a noised picture that the unedited model made of p, ε_b and E_b are the unedited model's, ε̂ is the edited one's
prediction (`workbench.attacks.reach`), T the table of token embeddings.
    (1)  min over P of mean ‖ε_b(z_t, t, E_b(p)) − ε̂(z_t, t; P)‖²,  t uniform in 0 … 999, the same for all prompts
    (2)  forward, each free token of P is the row of T nearest to it by cosine; the gradient there moves P (AdamW)
    "n"  P is `tokens` free tokens and nothing else
    "k"  P is p with a free token before every `every` of its tokens
A picture is judged after every `every_steps` steps. The paper keeps the prompt whose picture CLIP finds nearest to that
of p; here the first success ends the search, by the judge. Different from the official code: prompts are padded as the
tokenizer pads, and a rule of guidance (SLD) counts a sampler's calls, not the steps of AdamW. For a Janus both models
say of each token of the unedited one's picture which they hold for likely; in the place of (1) is
    (3)  min over P of ℓ(q; P),  q_i = p_b(c_i | p, c_{<i}),  ℓ (3) of `workbench.attacks.likelihood`: their divergence
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.at_random import RandomAmong, RandomPrompt
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
from workbench.attacks.token_search import Chosen, TokenSearch
from workbench.attacks.tokens import FREE, Vocabulary, content, interleaved, slots, vocabulary
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.players import generator_of
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, NOISE_SCHEDULE
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class P4D(AttackMethod):
    """Free tokens by which the edited model predicts as the unedited one does for the concept."""

    variant: Annotated[Literal["n", "k"], Doc("Free tokens alone, or among those of the prompt.")] = "n"
    tokens: Annotated[int, Ge(1), Doc("How many free tokens, of n.")] = 16
    every: Annotated[int, Ge(1), Doc("Tokens of the prompt after each free one, of k.")] = 3
    steps: Annotated[int, Ge(1), Doc("Of AdamW.")] = 3000
    every_steps: Annotated[int, Ge(1), Doc("Of these, a picture.")] = 50
    lr: Annotated[float, Gt(0), Doc("Of AdamW.")] = 0.1
    weight_decay: Annotated[float, Ge(0), Doc("Of AdamW.")] = 0.1
    pictures: Folder = ""
    gate: Annotated[Treatment, Doc("How what the edit decides about a prompt is seen.")] = "straight_through"

    name: ClassVar[str] = "p4d"
    paper: ClassVar[Reference] = Reference(
        title="Prompting4Debugging: Red-Teaming Text-to-Image Diffusion Models by Finding Problematic Prompts",
        authors="Z.-Y. Chin, C.-M. Jiang, C.-C. Huang, P.-Y. Chen, W.-C. Chiu",
        year=2024,
        arxiv="2309.06135",
        venue="ICML",
    )
    access: ClassVar[str] = "weights"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({NOISE_SCHEDULE}), frozenset({AUTOREGRESSIVE}))
    cost: ClassVar[str] = "up to 3000 gradients and 60 images"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every_steps > self.steps:
            raise WorkbenchError(
                f"In {self.steps} steps, every {self.every_steps} is never.", "Choose every_steps up to steps."
            )

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> RandomPrompt | RandomAmong:
        """As many random tokens, in the same places."""
        return RandomPrompt(length=self.tokens) if self.variant == "n" else RandomAmong(every=self.every)

    @property
    def most(self) -> Rounds:
        """A round for each picture."""
        return Rounds(self.steps // self.every_steps, self.every_steps)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A model with likely and unlikely pictures, some of the concept, a budget for a round, room for the tokens."""
        check_search(self, model, rows, budget, self.most, self.pictures)
        slots(model, [self.prompt(content(model, row.prompt)) for row in rows])

    def check_edit(self, model: Model, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Gradients that come through, and a budget for both branches of a gate."""
        check_through(model, edit, rows, budget, self.most, "P4D", self.gate)

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
        """(1) or (3), and (2), for all rows together; the first prompt of each that brings its concept back."""
        check_rows(self, model, rows, judge)
        chases = chases_of(rows, edit, self.gate)
        rounds = rounds_of(budget, self.most, len(chases) // len(rows))
        prompts = slots(model, [self.prompt(content(model, rows[one.row].prompt)) for one in chases])
        check_reached(model, edit, rows[0].prompt, "P4D", self.gate)
        texts = [rows[one.row].prompt for one in chases]
        scale = sampling.get("guidance_scale")
        teacher = teacher_for(model, edit, scale)
        pictures = targets(model, rows, self.pictures, seed, **sampling)[[one.row for one in chases]]
        generators = [own_generator(rows[one.row], seed, f"{self.name} {one.branch}") for one in chases]

        def lessons(going: Sequence[int], number: int) -> list[Any]:
            draws, wanted = [generators[one] for one in going], [texts[one] for one in going]
            times = torch.randint(teacher.times, (rounds.steps,), generator=generator_of(seed, number)).tolist()
            return teacher.answered(pictures[list(going)], draws, times, wanted)  # (1) or (3)

        free = Points.drawn(self, vocabulary(model, edit), prompts.counts, generators)
        search = TokenSearch(model, edit, self.gate, scale, rows, chases, prompts, free, lessons)
        return pursued(model, edit, rows, judge, chases, rounds, search, progress=progress, label=self.name, **sampling)

    def prompt(self, ids: Sequence[int]) -> list[int]:
        """P of a prompt's own tokens, `FREE` for the free ones."""
        return [FREE] * self.tokens if self.variant == "n" else interleaved(ids, self.every)


@dataclass(frozen=True, eq=False)
class Points:
    """The free tokens of every chase as points among the embeddings: `FreeTokens` by (2)."""

    words: Vocabulary
    parameters: Sequence[nn.Parameter]  # [free, d] each
    optimizer: torch.optim.Optimizer

    @classmethod
    def drawn(
        cls, attack: P4D, words: Vocabulary, counts: Sequence[int], generators: Sequence[torch.Generator]
    ) -> "Points":
        """At the embeddings of tokens that are drawn from all that are allowed."""
        allowed = words.allowed.nonzero()[:, 0].cpu()
        points = [
            nn.Parameter(words.table[allowed[torch.randint(len(allowed), (count,), generator=draw)]].clone())
            for count, draw in zip(counts, generators, strict=True)
        ]
        return cls(words, points, torch.optim.AdamW(points, lr=attack.lr, weight_decay=attack.weight_decay))

    def chosen(self, chases: Sequence[int]) -> Chosen:
        """The nearest tokens."""
        points = torch.cat([self.parameters[one] for one in chases])
        ids = self.words.nearest(points.detach())
        return Chosen(ids, points + (self.words.table[ids] - points).detach())  # (2)

    def settled(self, chase: int) -> Tensor:
        """The same."""
        return self.words.nearest(self.parameters[chase].detach())

    def kept(self, parameter: Tensor) -> Tensor:
        """Anywhere."""
        return parameter
