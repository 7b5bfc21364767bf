"""RECE: Reliable and Efficient Concept Erasure of Text-to-Image Diffusion Models (Gong et al. 2024, arXiv:2407.12383).

After UCE, another embedding c′ may bring the concept back. It is found in closed form and erased by one more edit of
the same form; then the next one is, … With W⁰ the original maps and W the current ones, for every token row c of a
concept's prompt (all of them, each paired with the anchor's row at the same position):
    (1)  c′ = argmin_u Σ_W ‖W u − W⁰ c‖² + λ_r ‖u‖²
    (2)  c′ = G c,   G = (λ_r I + Σ WᵀW)⁻¹ Σ WᵀW⁰
    (3)  W ← W (I + M),   M = s_e Σ (a − c′) c′ᵀ (λI + s_e Σ c′c′ᵀ + s_p Σ k kᵀ)⁻¹:    UCE's edit, near the current W
Every such edit, UCE's too, multiplies all maps by one matrix, so that W = W⁰T with the same d×d T for each. With
S = Σ W⁰ᵀW⁰ formed once, Σ WᵀW = TᵀST and Σ WᵀW⁰ = TᵀS: the rounds are d×d algebra in float64, whatever the number of
maps and of concepts, and no map is touched until the end. The setting is the published `close_regzero` (code 403a67f).
Its scripts keep the empty prompt k, which counts once for each word of a list of unsafe words, and once for styles and
objects; UCE, from which they start, always keeps it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from annotated_types import Ge, Gt
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.erasure.uce import UCE, Kept, kept_prompts, paired_prompts
from workbench.fitting.embedding import embed, embed_in_batches
from workbench.fitting.least_squares import Gram, Moves, Ridge, Shift, Square, damped, deltas, inverse
from workbench.fitting.pooled import warn_of_pooled_text
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION
from workbench.papers import Reference


class Rounds(NamedTuple):
    """How the recalled embeddings of a concept are regularised, and how often it is erased again."""

    regular_scale: float  # λ_r, added to Σ WᵀW as it is
    epochs: int


EASY = Rounds(0.1, 1)  # the README's English springer, golf ball, parachute; its hard objects (church) have λ_r 1e-3
PUBLISHED = {"style": Rounds(1e-3, 1), "unsafe": Rounds(0.1, 3)}  # artists; nudity (2 rounds for the list of I2P)


@dataclass(frozen=True, kw_only=True)
class RECE(ErasureMethod):
    """UCE, then rounds of deriving what still recalls each concept and erasing that too. A `WeightEdit`.

    Kept is what UCE keeps. Concepts of one fit share every edit; a concept whose rounds are over is no longer derived.
    Not for SD3 and Flux: there one map reads the prompt for all blocks, so that some u gives W u = W⁰c exactly after
    any edit, and (1) does not measure what keys and values of many blocks can still recall. As UCE, it leaves SDXL's
    pooled embedding alone, and warns of it.
    """

    start: Annotated[UCE, Doc("Its preserve_scale is 1 with nothing to keep, 0.1 with much, as published.")] = field(
        default_factory=UCE
    )
    epochs: Annotated[int | None, Ge(0), Doc("None: by the concept's kind, `PUBLISHED`.")] = None
    regular_scale: Annotated[float | None, Gt(0), Doc("λ_r; None: by the concept's kind.")] = None
    erase_scale: Annotated[float, Ge(0), Doc("s_e: weight of what is moved.")] = 1.0
    preserve_scale: Annotated[float, Ge(0), Doc("s_p: weight of what is kept, in the rounds.")] = 0.1
    keep_empty: Annotated[
        Literal["published", "once", "each"],
        Doc("How often a round keeps the empty prompt: for each concept, or once; published: for each unsafe one."),
    ] = "published"
    damping: Annotated[float, Ge(0), Doc("λ: how much a round holds the maps where they were.")] = 0.1

    name: ClassVar[str] = "rece"
    paper: ClassVar[Reference] = Reference(
        title="Reliable and Efficient Concept Erasure of Text-to-Image Diffusion Models",
        authors="C. Gong et al.",
        year=2024,
        arxiv="2407.12383",
        venue="ECCV",
    )
    family: ClassVar[str] = "closed form"
    cost: ClassVar[str] = "seconds; no images"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start.technique != "replace":
            raise WorkbenchError(
                "RECE starts from UCE's technique 'replace': with 'tensor' the maps are not all changed alike.",
                "Leave it at 'replace'.",
            )

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Solves UCE's problem, then its own in rounds.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of the rows of each prompt and of each round.

        Returns:
            Low-rank changes of all maps that read the prompt, where that is smaller than whole ones.

        Raises:
            WorkbenchError: For a concept that is its anchor to the tokenizer.
        """
        self.supports.check("RECE", model, concepts)
        warn_of_pooled_text(model, "RECE")
        pairs, kept = paired_prompts(model, concepts, self.start.templates), kept_prompts(concepts)
        maps = model.prompt_maps()
        start = self.start.ridge(model, "embeddings", pairs, kept, progress).solve()
        empty = [Kept("", "")] * (self.empty_prompts(concepts) - 1)  # `kept` has one
        shift = rounds(
            start, gram_of_maps(maps), self.groups(model, concepts), self.kept_rows(model, [*empty, *kept], progress),
            damping=self.damping, progress=progress,
        )  # fmt: skip
        return WeightEdit(
            tensors={name: tensor.cpu() for name, tensor in deltas(maps, shift).items()},
            **self.told(model, concepts, seed, self.settings(concepts, kept)),
        )  # fmt: skip

    def settings(self, concepts: Sequence[Concept], kept: Sequence[Kept]) -> dict[str, Any]:
        """The hyper-parameters as they were used; `rounds` are each concept's λ_r and epochs."""
        used = {concept.name: self.rounds_of(concept)._asdict() for concept in concepts}
        start = self.start.settings(concepts, kept)
        return {**asdict(self), "start": start, "rounds": used, "empty_prompts": self.empty_prompts(concepts)}

    def empty_prompts(self, concepts: Sequence[Concept]) -> int:
        """How often a round keeps the empty prompt, at least once."""
        each = {
            "published": sum(concept.kind == "unsafe" for concept in concepts), "once": 1, "each": len(concepts),
        }  # fmt: skip
        return max(1, each[self.keep_empty])

    def rounds_of(self, concept: Concept) -> Rounds:
        """λ_r and epochs of a concept."""
        scale, epochs = PUBLISHED.get(concept.kind, EASY)
        return Rounds(
            scale if self.regular_scale is None else self.regular_scale,
            epochs if self.epochs is None else self.epochs,
        )

    def groups(self, model: Diffusion, concepts: Sequence[Concept]) -> dict[Rounds, Moves]:
        """All rows of each concept and of its anchor; concepts that are treated alike together."""
        groups: dict[Rounds, Moves] = {}
        for concept in concepts:
            for pair in paired_prompts(model, [concept], self.start.templates):
                rows, anchors = embed(model, [pair.prompt, pair.anchor_prompt])
                group = groups.setdefault(self.rounds_of(concept), Moves(rows.shape[1], rows.device))
                group.add(rows, anchors, self.erase_scale)
        return groups

    def kept_rows(self, model: Diffusion, kept: Sequence[Kept], progress: Progress) -> Gram:
        """s_p Σ k kᵀ over all rows of the kept prompts."""
        gram = Gram(next(iter(model.prompt_maps().values())).shape[1], model.device)
        for rows in embed_in_batches(model, [one.prompt for one in kept], progress=progress):
            gram.add(rows.flatten(0, 1), self.preserve_scale)
        return gram


def gram_of_maps(maps: Mapping[str, Tensor]) -> Square:
    """S = Σ WᵀW over the maps, in float64."""
    first = next(iter(maps.values()))
    gram = Gram(first.shape[1], first.device)
    for weight in maps.values():
        gram.add(weight.detach())
    return gram.total()


def rounds(
    start: Shift, maps_gram: Square, groups: Mapping[Rounds, Moves], kept: Gram, *,
    damping: float, progress: Progress = SILENT,
) -> Shift:  # fmt: skip
    """T − I after all rounds; `start` is that of UCE, `groups` the pairs c → a by how they are treated."""
    shift = start
    for epoch in progress(range(max(group.epochs for group in groups)), "epochs"):
        ridge = Ridge(len(maps_gram), damping, maps_gram.device, kept=kept)
        for group, moves in groups.items():
            if group.epochs > epoch:
                ridge.moves.join(moves.through(recall(maps_gram, shift, group.regular_scale)))
        shift = shift.then(ridge.solve())  # (3)
    return shift


def recall(maps_gram: Square, shift: Shift, regular_scale: float) -> Square:
    """G, which takes an embedding to the one that now reads most like it did to the original maps."""
    crossed = shift.of(maps_gram).T  # TᵀS
    return inverse(damped(shift.of(crossed), regular_scale))(crossed.T).T  # (2)
