"""CCE: Circumventing Concept Erasure Methods For Text-to-Image Generative Models (Pham et al. 2024, arXiv:2308.01508).

Textual inversion inside the edited model: the embedding v of one new token is learnt from pictures of the concept, all
else stays as it is. x₀ are pictures that the unedited model made of the concept, z_t them with noise ε at t, and ε̂ is
what the edited model predicts for `template` with v in the place of the concept's name (`workbench.attacks.reach`).
    (1)  min over v of E mean ‖ε − ε̂(z_t, t; v)‖²
    (2)  min over v of E mean ‖ε̂_b(z_t, t; concept) − ε̂(z_t, t; v)‖²       through an edit of guidance
In (2) both predictions are guided, ε̂_b by plain guidance of the unedited model: a rule of guidance sees nothing else.
v is learnt once for each concept, and tried at every row in the place of the name: prompts that it was not learnt from.
It finds something in any model, so that it says little without the same budget on a concept that the model never knew.
Different from the paper: all pictures of a pass share their timestep, at which alone some edits know what to do. For a
Janus v is to make the tokens c of pictures likely, which the unedited model wrote for the concept:
    (3)  min over v of E ℓ(c; v),  ℓ (2) of `workbench.attacks.likelihood`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.at_random import AtRandom
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.gates import Treatment
from workbench.attacks.lessons import Teacher, teacher_for
from workbench.attacks.pictures import Folder, own_pictures, place_of, represented
from workbench.attacks.pursuit import (
    Chase,
    Rounds,
    chases_of,
    check_rows,
    check_search,
    check_through,
    pursued,
    rounds_of,
)
from workbench.attacks.reach import check_reached, reaching
from workbench.attacks.tokens import FREE, Slots, content, slots, vocabulary
from workbench.attacks.trying import Try
from workbench.evaluation.inputs import NotText
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.pictures import read_pictures
from workbench.fitting.players import generator_of
from workbench.models import Model, TokenEmbeddings
from workbench.models.capabilities import AUTOREGRESSIVE, NOISE_SCHEDULE
from workbench.models.model import Change
from workbench.papers import Reference

READ = "<v>"  # what people read where v stands
AT_ONCE = 40  # passes that are prepared together, outside the edit


@dataclass(frozen=True, kw_only=True)
class CCE(AttackMethod):
    """The embedding of a new token, learnt from pictures of the concept inside the edited model."""

    template: Annotated[str, Doc("Of the pictures and of training; {} is the concept or v.")] = "a photo of a {}"
    init: Annotated[str, Doc("v begins as the mean embedding of these words.")] = "art"
    n: Annotated[int, Ge(1), Doc("Pictures that the unedited model draws.")] = 25
    pictures: Folder = ""
    steps: Annotated[int, Ge(1), Doc("Of AdamW.")] = 5000
    batch: Annotated[int, Ge(1), Doc("Pictures in a pass.")] = 4
    accumulate: Annotated[int, Ge(1), Doc("Passes in a step.")] = 4
    lr: Annotated[float, Gt(0), Doc("Of AdamW; 0.005 times the 16 pictures of a step.")] = 0.08
    weight_decay: Annotated[float, Ge(0), Doc("Of AdamW.")] = 0.01
    checks: Annotated[int, Ge(1), Doc("How often v is tried: the last time at its end.")] = 10
    history: Annotated[int, Ge(0), Doc("Of (2): noisier calls that a rule of guidance has seen.")] = 35
    gate: Annotated[Treatment, Doc("How what the edit decides about a prompt is seen.")] = "straight_through"

    name: ClassVar[str] = "cce"
    paper: ClassVar[Reference] = Reference(
        title="Circumventing Concept Erasure Methods For Text-to-Image Generative Models",
        authors="M. Pham, K. O. Marshall, N. Cohen, G. Mittal, C. Hegde",
        year=2024,
        arxiv="2308.01508",
        venue="ICLR",
    )
    access: ClassVar[str] = "weights"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({NOISE_SCHEDULE}), frozenset({AUTOREGRESSIVE}))
    cost: ClassVar[str] = "20000 gradients a concept, 25 images of the unedited model, 10 images a prompt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.template.count("{}") != 1:
            raise WorkbenchError(f"The template {self.template!r} has no single place for a name.", "Put one {} in it.")

    @property
    def most(self) -> Rounds:
        """A round for each time that v is tried."""
        checks = min(self.checks, self.steps)
        return Rounds(checks, self.steps // checks * self.accumulate)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A model with likely and unlikely pictures, some of the concept, a budget for a round, and room for v."""
        check_search(self, model, rows, budget, self.most, self.pictures)
        slots(model, [replaced(model, row, self.template) for row in rows])

    def check_edit(self, model: Model, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Gradients that come through, and a budget for both branches of a gate."""
        check_through(model, edit, rows, budget, self.most, "CCE", self.gate)

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
        """(1), (2) or (3) for all concepts together; for each row the first v that brings its concept back."""
        check_rows(self, model, rows, judge)
        chases = chases_of(rows, edit, self.gate)
        rounds = rounds_of(budget, self.most, len(chases) // len(rows))
        keys = [Key(rows[one.row].expected, one.branch) for one in chases]
        tried = slots(model, [replaced(model, rows[one.row], self.template) for one in chases])
        check_reached(model, edit, rows[0].prompt, "CCE", self.gate)
        scale = sampling.get("guidance_scale")
        teacher = teacher_for(model, edit, scale)
        vectors = {key: self._start(model, edit, key, seed, **sampling) for key in dict.fromkeys(keys)}
        adam = torch.optim.AdamW([one.v for one in vectors.values()], lr=self.lr, weight_decay=self.weight_decay)
        search = Inversion(
            self, model, edit, rows, chases, keys, tried, vectors, adam, rounds.steps, seed, scale, teacher
        )
        return pursued(model, edit, rows, judge, chases, rounds, search, progress=progress, label=self.name, **sampling)

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> "RandomEmbedding | None":
        """Embeddings in the same place, as long as those that were found are on average."""
        given = [(row, one.given) for row, one in zip(rows, found, strict=False) if one.given is not None]
        if not given:
            return None
        lengths = torch.tensor([lengths_of(model, row, self.template, one) for row, one in given])
        return RandomEmbedding(
            template=self.template, init=self.init, lengths=tuple(round(one, 5) for one in lengths.mean(dim=0).tolist())
        )

    def _start(self, model: Model, edit: Change, key: "Key", seed: int, **sampling: Any) -> "Vector":
        """v of a concept, and the pictures that it is learnt from."""
        row = SuiteRow(self.template.format(key.concept), "target", key.concept, 0)
        draw = own_generator(row, seed, f"{self.name} {key.branch}")
        if self.pictures:
            pictures = represented(model, read_pictures(place_of(self.pictures, key.concept), model.image_size))
        else:
            seeds = torch.randint(2**31, (self.n,), generator=draw).tolist()
            pictures = own_pictures(model, row.prompt, seeds, **sampling)
        ids = content(model, self.init)
        if not ids:
            raise WorkbenchError(f"{self.init!r} is no token to {model.name}.", "Choose an init of words.")
        start = vocabulary(model, edit).table[ids].mean(dim=0)
        return Vector(nn.Parameter(start), pictures, draw, ids[0], row.prompt)


def replaced(model: Model, row: SuiteRow, template: str) -> list[int]:
    """The tokens of a row with one free in the place of the concept's name; of the template where it has none."""
    ids, name = content(model, row.prompt), content(model, row.expected)
    starts = [at for at in range(len(ids) - len(name) + 1) if ids[at : at + len(name)] == name]
    if not name or not starts:
        return opened(model, template)
    return [*ids[: starts[-1]], FREE, *ids[starts[-1] + len(name) :]]


def opened(model: Model, template: str) -> list[int]:
    """The tokens of the template, the one of v free."""
    before, after = template.split("{}")
    return [*content(model, before), FREE, *content(model, after)]


def read(row: SuiteRow, template: str) -> str:
    """What people read of the prompt with v."""
    return row.prompt.replace(row.expected, READ) if row.expected in row.prompt else template.format(READ)


def lengths_of(model: Model, row: SuiteRow, template: str, given: NotText) -> list[float]:
    """‖v‖ in a row's prompt, for each text encoder."""
    assert isinstance(given, TokenEmbeddings), "the attack gives embeddings"
    free = slots(model, [replaced(model, row, template)]).ids
    return [float(one[own == FREE].norm()) for own, one in zip(free, given.embeddings, strict=True)]


@dataclass(frozen=True, kw_only=True)
class RandomEmbedding(AtRandom):
    """Embeddings in random directions in the place of the concept's name."""

    template: Annotated[str, Doc("As of the attack.")]
    init: Annotated[str, Doc("As of the attack: what the place is told by.")]
    lengths: Annotated[tuple[float, ...], Doc("How long they are, for each text encoder.")]

    name: ClassVar[str] = "random embedding"

    def drawn(self, model: Model, row: SuiteRow, generator: torch.Generator) -> Try:
        """The row's prompt with a new embedding in it."""
        free = slots(model, [replaced(model, row, self.template)])
        widths = [one.shape[-1] for one in model.token_embeddings(row.prompt).embeddings]
        parts = [torch.randn(width, generator=generator) for width in widths]
        v = torch.cat([length * part / part.norm() for length, part in zip(self.lengths, parts, strict=True)])
        token = torch.tensor(content(model, self.init)[:1])
        return Try(row, read(row, self.template), free.embedded(token, v[None]))


class Key(NamedTuple):
    """What a vector is learnt for: a concept, in a branch of the edit's gates (or None)."""

    concept: str
    branch: float | None


class Vector(NamedTuple):
    """v, what it is learnt from, and the token that it begins from."""

    v: nn.Parameter
    pictures: Tensor
    generator: torch.Generator
    token: int
    prompt: str


@dataclass(eq=False)
class Inversion:
    """The vectors of all concepts, learnt together: a `Pursuit`."""

    attack: CCE
    model: Model
    edit: Change
    rows: Sequence[SuiteRow]
    chases: Sequence[Chase]
    keys: Sequence[Key]  # of the chases
    tried: Slots
    vectors: Mapping[Key, Vector]
    optimizer: torch.optim.Optimizer
    passes: int  # in a round
    seed: int
    guidance_scale: float | None
    teacher: Teacher

    def improve(self, chases: Sequence[int], number: int) -> None:
        """So many passes, a step after each `accumulate` of them and after the last."""
        keys = list(dict.fromkeys(self.keys[one] for one in chases))
        for first in range(0, self.passes, AT_ONCE):
            some = range(first, min(first + AT_ONCE, self.passes))
            lessons = [self.lesson(keys, number * self.passes + one) for one in some]
            through = reaching(
                self.model, self.edit, self.attack.gate, guidance_scale=self.guidance_scale, history=self.attack.history
            )
            with torch.enable_grad(), through as reach:
                for one, lesson in zip(some, lessons, strict=True):
                    self._accumulated(keys, self.losses(reach, keys, lesson))
                    if (one + 1) % self.attack.accumulate == 0 or one + 1 == self.passes:
                        self.optimizer.step()
                        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def lesson(self, keys: Sequence[Key], number: int) -> Any:
        """A batch of pictures of each concept, all at one timestep, and what is to be said of them."""
        own = [self.vectors[key] for key in keys]
        time = int(torch.randint(self.teacher.times, (), generator=generator_of(self.seed, number)))
        places = [torch.randint(len(one.pictures), (self.attack.batch,), generator=one.generator) for one in own]
        pictures = torch.cat([one.pictures[place] for one, place in zip(own, places, strict=True)])
        each = [one for one in own for _ in range(self.attack.batch)]
        (lesson,) = self.teacher.taught(
            pictures, [one.generator for one in each], [time], [one.prompt for one in each]
        )  # (1), (2) or (3)
        return lesson

    def losses(self, reach: Any, keys: Sequence[Key], lesson: Any) -> Float[Tensor, " keys"]:
        """(1), (2) or (3) for each concept, over its own pictures."""
        own = [self.vectors[key] for key in keys for _ in range(self.attack.batch)]
        prompts = slots(self.model, [opened(self.model, self.attack.template)] * len(own))
        ids, v = torch.tensor([one.token for one in own]), torch.stack([one.v for one in own])
        branches = [key.branch for key in keys for _ in range(self.attack.batch)]
        each = reach.losses(lesson, prompts.embedded(ids, v), branches)
        return each.view(len(keys), -1).mean(dim=1)

    def proposal(self, chase: int) -> Try:
        """The row's prompt with v as it is now."""
        row, own = self.rows[self.chases[chase].row], self.vectors[self.keys[chase]]
        given = self.tried.of([chase]).embedded(torch.tensor([own.token]), own.v.detach().clone()[None])
        return Try(row, read(row, self.attack.template), given)

    def _accumulated(self, keys: Sequence[Key], losses: Float[Tensor, " keys"]) -> None:
        own = [self.vectors[key].v for key in keys]
        for v, grad in zip(own, torch.autograd.grad(losses.sum() / self.attack.accumulate, own), strict=True):
            v.grad = grad if v.grad is None else v.grad + grad
