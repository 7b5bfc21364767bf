"""RealEra: Semantic-level Concept Erasure via Neighbor-Concept Mining (Liu et al. 2024, arXiv:2410.09140),
reconstructed.

What lies around the embedding of an erased word still brings the concept about. So random neighbours e + η of each of
its rows e are moved to the anchor too, and embeddings e + ξ beyond the neighbourhood are kept: first in closed form for
all maps W that read the prompt, then by LoRA on the same maps, which aligns noise predictions. η and ξ are (1) and (2)
of `probes.neighbours`; i counts rows, m_i is the anchor's row in the place of e_i, p_j are retained words.
    (1)  min over W′ of  Σ_i Σ_k ‖W′(e_i + η_ik) − W m_i‖² + λ₁ Σ_i Σ_b ‖W′(e_i + ξ_ib) − W(e_i + ξ_ib)‖²
                         + λ₂ Σ_j ‖W′p_j − W p_j‖² + λ ‖W′ − W‖_F²,      η_i1 = 0
    (2)  L = ‖ε_φ(x_t, t, C ⊕ η) − ε₀(x_t, t, C_m)‖² + β ‖ε_φ(x_t, t, C ⊕ ξ) − ε₀(x_t, t, C ⊕ ξ)‖²
         ε₀ the unedited denoiser, ε_φ the one of (1) with LoRA φ, x_t noised pictures of the concept, C its prompt and
         C_m that of the anchor, both norms as means
Stated in the texts that could be read [S]: the set N(e), that neighbours are erased and what is beyond is kept, both in
a closed form for cross-attention and in LoRA that aligns noise predictions. No code is public, and the paper's tables
could not be read. Everything else is our inference [I] or taken from MACE's code [M], the nearest one (Shilin-LU/MACE
at 057e7a6): the weights of (1), the set B(e), which rows are perturbed, and every default below.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from probes.neighbours import Neighbourhood
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.edits.weight import DELTA, LEFT, RIGHT
from workbench.erasure import spm
from workbench.erasure.method import ErasureMethod, Supports
from workbench.erasure.uce import UCE, Kept, Pair, kept_prompts, paired_prompts
from workbench.fitting.copies import add, own_denoiser, teacher_of
from workbench.fitting.footprint import Footprint
from workbench.fitting.least_squares import Ridge, Rows, deltas, one_dtype
from workbench.fitting.lora import attach, factors, parameters_of
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pictures import drawn_seeds
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, Terms
from workbench.fitting.rows import last_subject
from workbench.fitting.selectors import is_key_or_value
from workbench.fitting.training import train
from workbench.models import Diffusion
from workbench.models.beside import beside
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import noised
from workbench.models.encoding import Encoding
from workbench.papers import Reference

Picture = Float[Tensor, "c h w"]  # latents of one


@dataclass(frozen=True, kw_only=True)
class RealEra(ErasureMethod):
    """Erasure of a concept and of what lies around it, towards its anchor (the empty prompt without one).

    A `WeightEdit` of the keys and values of cross-attention. The ablations of the paper's parts: without mining
    `neighbours=1` (then η = 0 throughout), without the regulariser `beyond=0`, without the second stage `lora_steps=0`.
    With all three it is UCE at these scales. Kept are the concepts' `retain` words and `captions`.

    What is [M] holds for Stable Diffusion; what is [I] was tried on the toy alone. Each row, pads too under
    `perturb="all"`, has its own draws: with one for all rows of a prompt, or a damping far below 10, there are about as
    many draws as dimensions, the solution follows them, and ‖ΔW‖ exceeds ‖W‖. As (1) sums over K, kept words need a
    weight λ₂ of that order.
    """

    neighbours: Annotated[int, Ge(1), Doc("K of (1), the row itself among them [I].")] = 16
    beyond: Annotated[int, Ge(0), Doc("Draws of ξ a row, 0: none [I].")] = 16
    s1: Annotated[float, Doc("Smallest cosine of a neighbour, S₁: see `Neighbourhood` [I].")] = 0.85
    s2: Annotated[float, Doc("Largest cosine of a neighbour, S₂ [I].")] = 0.98
    d1: Annotated[float | None, Doc("D₁ / ‖e‖, how far a neighbour lies at most; None: by S₁ [I].")] = None
    d2: Annotated[float | None, Doc("D₂ / ‖e‖, how far beyond it is kept; None: by S₁ and D₁ [I].")] = None
    perturb: Annotated[Literal["all", "subject"], Doc("Also the rows after the subject's last token [I].")] = "all"
    tokens: Annotated[Literal["all", "last"], Doc("Which rows are moved, as in UCE [I].")] = "all"
    templates: Annotated[bool, Doc("The concept in all its templates [M], not its name alone.")] = True
    beyond_scale: Annotated[float, Ge(0), Doc("λ₁: weight of what lies beyond [I].")] = 1.0
    preserve_scale: Annotated[float, Ge(0), Doc("λ₂: weight of kept words [I].")] = 10.0
    damping: Annotated[float, Ge(0), Doc("λ: how much the maps are held where they were [M: 10 for objects].")] = 10.0
    lora_steps: Annotated[
        int, Ge(0), Doc("[M], where it is 50 a concept; here one LoRA for all, which take turns [I].")
    ] = 50
    lora_rank: Annotated[int, Ge(1), Doc("Of each map [M].")] = 1
    lora_lr: Annotated[
        float, Gt(0), Doc("[M], for its own loss: objects and what is explicit; 1e-4 for celebrities.")
    ] = 1e-5
    lora_beyond: Annotated[float, Ge(0), Doc("β of (2): weight of what lies beyond [I].")] = 1.0
    lora_images: Annotated[int, Ge(1), Doc("Pictures of each concept [M].")] = 8
    save_memory: SaveMemory = False

    name: ClassVar[str] = "realera"
    paper: ClassVar[Reference] = Reference(
        title="RealEra: Semantic-level Concept Erasure via Neighbor-Concept Mining",
        authors="Y. Liu et al.",
        year=2024,
        arxiv="2410.09140",
    )
    reconstructed: ClassVar[str] = (
        "no code is public and the paper's tables could not be read; weights, sets and settings are inferred"
    )
    family: ClassVar[str] = "closed form"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE})
    cost: ClassVar[str] = "seconds; with LoRA a minute and 8 images a concept"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.area

    @property
    def area(self) -> Neighbourhood:
        """N(e) and B(e)."""
        return Neighbourhood(s1=self.s1, s2=self.s2, d1=self.d1, d2=self.d2)

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Solves (1) for all concepts at once, then trains (2).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Without an anchor, one goes to the empty prompt.
            seed: Decides all draws of η and ξ, the pictures, and the order of training.
            progress: Told of prompts, pictures and training steps.

        Returns:
            Changes of the keys and values of cross-attention.

        Raises:
            WorkbenchError: For a concept that is its anchor to the tokenizer.
        """
        self.supports.check("RealEra", model, concepts)
        pairs, kept = paired_prompts(model, concepts, self.templates), kept_prompts(concepts)
        solved = WeightEdit(
            tensors=self._solved(model, pairs, kept, seed, progress), 
            **self.told(model, concepts, seed, self.settings(concepts, kept)),
        )  # fmt: skip
        if not self.lora_steps:
            return solved
        trained = self._trained(model, solved, concepts, seed, progress)
        return replace(solved, tensors=joined(solved, trained))

    def footprint(self, model: Diffusion) -> Footprint | None:
        """The second stage: a graph of one row for each term. Without LoRA nothing is trained."""
        if not self.lora_steps:
            return None

        def lora(own: Diffusion, stack: ExitStack) -> dict[str, nn.Parameter]:
            paths = [name.removesuffix(".weight") for name in model.prompt_maps()]
            terms = spm.fresh({path: own.module(path) for path in paths}, self.lora_rank, torch.Generator())
            stack.enter_context(beside(own.module, terms, lambda: lambda low: low))  # as peft's, which takes no fakes
            return spm.parameters_of(terms)

        return Footprint([1] * (2 if self.beyond else 1), held=is_key_or_value, attach=lora)

    def settings(self, concepts: Sequence[Concept], kept: Sequence[Kept]) -> dict:
        """The hyper-parameters as they were used."""
        used = {"d1": self.area.reach, "d2": self.area.outer}
        anchors = {concept.name: concept.anchor for concept in concepts}
        return {**asdict(self), **used, "anchors": anchors, "kept": len(kept)}

    @property
    def _uce(self) -> UCE:
        """What both methods have in common: the rows of a pair, and those that are kept."""
        return UCE(tokens=self.tokens, templates=self.templates)

    def _solved(
        self, model: Diffusion, pairs: Sequence[Pair], kept: Sequence[Kept], seed: int, progress: Progress
    ) -> dict[str, Tensor]:
        maps = model.prompt_maps()
        one_dtype(maps)
        ridge = Ridge(next(iter(maps.values())).shape[1], self.damping, model.device)
        generator = torch.Generator().manual_seed(seed)
        for pair in progress(pairs, "neighbours"):
            system = self.system(*self._uce.rows(model, "embeddings", pair), generator)
            ridge.move(system.moved, system.to)
            ridge.keep(system.beyond, self.beyond_scale)
        for rows in self._uce.kept_rows(model, "embeddings", kept, progress):
            ridge.keep(rows, self.preserve_scale)
        return {name: tensor.cpu() for name, tensor in deltas(maps, ridge.solve()).items()}  # (1)

    def system(self, rows: Rows, to: Rows, generator: torch.Generator) -> "System":
        """The rows of (1) for one prompt; `rows[0]` is its last subject token, and `to` the anchor's rows."""
        perturbed = rows[: len(rows) if self.perturb == "all" else 1]
        near = self.area.neighbours(perturbed, self.neighbours - 1, generator)
        beyond = self.area.beyond(perturbed, self.beyond, generator)
        targets = to[: len(perturbed), None].expand_as(near)
        moved = torch.cat([rows, near.flatten(0, 1)]), torch.cat([to, targets.flatten(0, 1)])
        return System(*moved, beyond.flatten(0, 1))

    def _trained(
        self, model: Diffusion, solved: WeightEdit, concepts: Sequence[Concept], seed: int, progress: Progress
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """B and A of every map."""
        lessons = [self.lesson(model, concept, seed, progress) for concept in concepts]
        own, teacher = own_denoiser(model, is_key_or_value), teacher_of(model)
        add(solved, own)  # starts from (1); ε₀ stays the model itself, or the anchor would drift
        adapters = attach(own, solved.names, self.lora_rank, torch.Generator().manual_seed(seed))

        def losses(step: int, generator: torch.Generator) -> Iterator[Terms]:
            return self.losses(teacher, own, lessons[step % len(lessons)], generator)

        plan = Plan(steps=self.lora_steps, lr=self.lora_lr, clip=1.0)
        what = [solved.settings, [asdict(concept) for concept in concepts], model.fingerprint]
        player = Player(parameters_of(adapters), losses, plan)
        with saving_memory(model, own, self.save_memory):
            train(player, seed=seed, what=what, progress=progress, label="noise alignment")
        return factors(adapters)

    @torch.no_grad()
    def lesson(self, model: Diffusion, concept: Concept, seed: int, progress: Progress = SILENT) -> "Lesson":
        """Pictures of the concept by the model itself, and its prompts with their counterparts."""
        pairs = paired_prompts(model, [concept], templates=True)
        prompts = [pairs[i % len(pairs)].prompt for i in range(self.lora_images)]
        images = model.generate(prompts, drawn_seeds(len(prompts), seed), progress=progress)
        lines = []
        for pair in pairs:
            first = last_subject(model, pair.prompt, pair.words)[0]
            last = None if self.tokens == "all" and self.perturb == "all" else first + 1
            lines.append(Line(model.encode([pair.prompt, pair.anchor_prompt]), slice(first, last)))
        return Lesson(model.latents(images), lines)

    def losses(self, model: Diffusion, own: Diffusion, lesson: "Lesson", generator: torch.Generator) -> Iterator[Terms]:
        """The terms of (2) at a picture, prompt, time, noise, η and ξ drawn from `generator`; ε_φ is `own`'s, ε₀ the
        model's."""
        number, line = (int(torch.randint(n, (), generator=generator)) for n in (len(lesson.x0), len(lesson.lines)))
        encoding, rows = lesson.lines[line]
        x, time = at_some_time(model, lesson.x0[number], generator)
        subject = encoding.embeddings[0, rows]
        subject = subject.to(torch.promote_types(subject.dtype, torch.float32))  # angles need more than half precision
        near = self.area.neighbours(subject, min(self.neighbours - 1, 1), generator)
        beyond = self.area.beyond(subject, min(self.beyond, 1), generator)
        around = perturbed(encoding, rows, near[:, 0]) if near.shape[1] else encoding.row(0)  # C ⊕ η
        yield {"erasure": apart(own, around, model, encoding.row(1), x, time)}
        if beyond.shape[1]:
            kept = perturbed(encoding, rows, beyond[:, 0])  # C ⊕ ξ
            yield {"beyond": self.lora_beyond * apart(own, kept, model, kept, x, time)}  # (2)


class System(NamedTuple):
    """The rows of (1) that come from one prompt."""

    moved: Rows  # e_i + η_ik
    to: Rows  # m_i
    beyond: Rows  # e_i + ξ_ib


class Line(NamedTuple):
    """A prompt of the concept and the same with the anchor (the two rows), and which tokens are perturbed."""

    encoding: Encoding
    rows: slice


class Lesson(NamedTuple):
    """What (2) needs of one concept."""

    x0: Latents
    lines: list[Line]


def at_some_time(model: Diffusion, x0: Picture, generator: torch.Generator) -> tuple[Picture, int]:
    """x_t of one picture at a time drawn uniformly, and the time."""
    scheduler = model.pipe.scheduler
    time = int(torch.randint(scheduler.config.num_train_timesteps, (), generator=generator))
    noise = torch.randn(x0.shape, generator=generator).to(x0)
    return noised(scheduler, x0[None], noise[None], time)[0], time


def apart(
    own: Diffusion, prompt: Encoding, model: Diffusion, other: Encoding, x: Picture, time: int
) -> Float[Tensor, ""]:
    """The mean square between `own`'s noise for one prompt and the model's for another, at one picture."""
    with torch.no_grad():
        wanted = model.predicted_noise(x[None], time, other)
    return (own.predicted_noise(x[None], time, prompt) - wanted).square().mean()


def perturbed(encoding: Encoding, rows: slice, to: Rows) -> Encoding:
    """C ⊕ η: the first prompt with some of its rows in other places."""
    only = encoding.row(0)
    embeddings = only.embeddings.clone()
    embeddings[0, rows] = to
    return Encoding(embeddings, only.pooled, only.roles)


def joined(solved: WeightEdit, trained: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Δ + B A of every map: a sum where Δ is held whole, else one more column and row of its factors."""
    tensors: dict[str, Tensor] = {}
    for name, (left, right) in trained.items():
        own = solved.factors(name)
        if own is None:
            tensors[name + DELTA] = solved.delta(name) + left @ right
        else:
            tensors[name + LEFT] = torch.cat([own[0], left.to(own[0])], dim=1)
            tensors[name + RIGHT] = torch.cat([own[1], right.to(own[1])])
    return tensors
