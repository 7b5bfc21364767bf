"""UCE: Unified Concept Editing in Diffusion Models (Gandikota et al. 2024, arXiv:2308.14761).

Cross-attention is solved in closed form.

Every map W that reads the prompt is asked to give, for the tokens of a concept, what it gave for those of an anchor,
and to keep what it gives for the tokens that must stay; c are token embeddings, and the sums are (1) of
`workbench.fitting.least_squares`, with w = s_e for the moved, s_p for the kept.
    (1)  v* = W c_anchor                                   erase; with an empty anchor, the paper's "moderate"
    (2)  v* = V − ⟨u, V⟩ u,  V = W C_anchor,  u = W C / ‖W C‖_F      `technique="tensor"`, C a prompt's moved tokens
The two official codes differ in which tokens these are. f7222e6 (2023, used by later papers for comparison): from the
last subject token to the end of the padding, and all tokens of kept prompts, among them always the empty one; 28c81ed
(2025): the last subject token alone. Pads carry the prompt's meaning too, so the first erases more. `tokens` chooses.
The empty prompt is kept with either; the 2025 code keeps nothing that it is not told to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.edits.weight import DELTA, LEFT, RIGHT
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.embedding import embed, embed_in_batches
from workbench.fitting.least_squares import Ridge, Rows, deltas, inverse, one_dtype, thin
from workbench.fitting.pooled import warn_of_pooled_text
from workbench.fitting.rows import last_subject, refuse_same_tokens, subject_rows
from workbench.models import Diffusion
from workbench.models.capabilities import PROMPT_MAPS
from workbench.models.diffusion.architecture import Reads
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class UCE(ErasureMethod):
    """Closed-form erasure of concepts towards their anchors (towards the empty prompt without one). A `WeightEdit`.

    Kept are the concepts' `retain` words and `captions`, except what is erased itself. On SD3 and Flux, whose blocks
    attend jointly, the one map from tokens into the transformer and that of the pooled embedding are edited instead, as
    the 2025 code does for Flux. SDXL's pooled embedding is not edited, as in the official codes: what it says of a
    concept still reaches the picture, and a warning says so.
    """

    tokens: Annotated[
        Literal["all", "last"], Doc("From the last subject token to the end (2023) | that token alone (2025).")
    ] = "all"
    erase_scale: Annotated[float, Ge(0), Doc("s_e: weight of what is moved.")] = 1.0
    preserve_scale: Annotated[
        float | None, Ge(0), Doc('s_p; None: max(0.1, 1 / kept prompts) with "all", 1 with "last".')
    ] = None
    damping: Annotated[float, Ge(0), Doc("λ: how much the maps are held where they were.")] = 0.5
    technique: Annotated[Literal["replace", "tensor"], Doc("The anchor's values (1), or (2).")] = "replace"
    templates: Annotated[bool, Doc("The concept in all its templates, not its name alone.")] = False

    name: ClassVar[str] = "uce"
    paper: ClassVar[Reference] = Reference(
        title="Unified Concept Editing in Diffusion Models",
        authors="R. Gandikota, H. Orgad, Y. Belinkov, J. Materzyńska, D. Bau",
        year=2024,
        arxiv="2308.14761",
        venue="WACV",
    )
    family: ClassVar[str] = "closed form"
    supports: ClassVar[Supports] = Supports({PROMPT_MAPS})
    cost: ClassVar[str] = "seconds; no images"

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Solves (1) for all concepts at once.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Without an anchor, one goes to the empty prompt.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of the rows of each prompt.

        Returns:
            Low-rank changes of all maps that read the prompt, where that is smaller than whole ones.

        Raises:
            WorkbenchError: For a concept that is its anchor to the tokenizer.
        """
        self.supports.check("UCE", model, concepts)
        warn_of_pooled_text(model, "UCE")
        pairs = paired_prompts(model, concepts, self.templates)
        kept = kept_prompts(concepts)
        tensors = self._tensors(model, "embeddings", pairs, kept, progress)
        if model.prompt_maps("pooled"):
            tensors |= with_own_right(self._tensors(model, "pooled", pairs, kept, SILENT))
        return WeightEdit(
            tensors={name: tensor.cpu() for name, tensor in tensors.items()}, 
            **self.told(model, concepts, seed, self.settings(concepts, kept)),
        )  # fmt: skip

    def settings(self, concepts: Sequence[Concept], kept: Sequence["Kept"]) -> dict:
        """The hyper-parameters as they were used."""
        anchors = {concept.name: concept.anchor for concept in concepts}
        return {**asdict(self), "preserve_scale": self.scale_of(len(kept)), "anchors": anchors, "kept": len(kept)}

    def scale_of(self, kept: int) -> float:
        """s_p for so many kept prompts."""
        if self.preserve_scale is not None:
            return self.preserve_scale
        return max(0.1, 1 / max(kept, 1)) if self.tokens == "all" else 1.0

    def _tensors(
        self, model: Diffusion, reads: Reads, pairs: Sequence["Pair"], kept: Sequence["Kept"], progress: Progress
    ) -> dict[str, Tensor]:
        maps = model.prompt_maps(reads)
        ridge = self.ridge(model, reads, pairs, kept, progress)
        if self.technique == "replace":
            return deltas(maps, ridge.solve())  # (1)
        moved = [self.rows(model, reads, pair) for pair in pairs]
        gram = ridge.gram
        right = inverse(gram)(self.erase_scale * torch.cat([rows for rows, _ in moved]).to(gram))
        right = right.to(torch.promote_types(one_dtype(maps), torch.float32))
        lefts = ((name, torch.cat([away(W, *pair) for pair in moved], dim=1)) for name, W in maps.items())  # (2)
        if thin(maps, right):
            return {name + LEFT: left for name, left in lefts} | {RIGHT: right}
        return {name + DELTA: left @ right for name, left in lefts}

    def ridge(
        self, model: Diffusion, reads: Reads, pairs: Sequence["Pair"], kept: Sequence["Kept"], progress: Progress
    ) -> Ridge:
        """All terms of the problem."""
        maps = model.prompt_maps(reads)
        one_dtype(maps)
        ridge = Ridge(next(iter(maps.values())).shape[1], self.damping, model.device)
        for pair in progress(pairs, "erased rows"):
            ridge.move(*self.rows(model, reads, pair), self.erase_scale)
        for rows in self.kept_rows(model, reads, kept, progress):
            ridge.keep(rows, self.scale_of(len(kept)))
        return ridge

    def rows(self, model: Diffusion, reads: Reads, pair: "Pair") -> tuple[Rows, Rows]:
        """c_i and a_i of a pair of prompts."""
        prompts, words = (pair.prompt, pair.anchor_prompt), (pair.words, pair.anchor)
        return tuple(subject_rows(model, prompts, words, self.tokens, reads))  # type: ignore[return-value]

    def kept_rows(self, model: Diffusion, reads: Reads, kept: Sequence["Kept"], progress: Progress) -> Iterator[Rows]:
        """k_j, a batch at a time."""
        if reads == "pooled":
            yield from embed_in_batches(model, [one.prompt for one in kept], reads, progress)
        elif self.tokens == "all":
            for rows in embed_in_batches(model, [one.prompt for one in kept], reads, progress):
                yield rows.flatten(0, 1)
        else:
            for one in progress(kept, "kept rows"):
                yield embed(model, [one.prompt])[0][list(last_subject(model, one.prompt, one.words))]


class Pair(NamedTuple):
    """A prompt with a concept's words in it, and the same with the anchor's (both empty without an anchor)."""

    prompt: str
    words: str
    anchor_prompt: str
    anchor: str


class Kept(NamedTuple):
    """A prompt that must stay, and its last subject."""

    prompt: str
    words: str


def paired_prompts(model: Diffusion, concepts: Sequence[Concept], templates: bool = False) -> list[Pair]:
    """One pair a concept, or one a template. Raises `WorkbenchError` where concept and anchor are the same tokens."""
    pairs = []
    for concept in concepts:
        refuse_same_tokens(model, concept, [concept.name])
        if templates:
            both = zip(concept.prompts(), concept.anchor_prompts(), strict=True)
            pairs += [Pair(prompt, concept.name, anchor, concept.anchor) for prompt, anchor in both]
        else:
            pairs.append(Pair(concept.name, concept.name, concept.anchor, concept.anchor))
    return pairs


def kept_prompts(concepts: Sequence[Concept]) -> list[Kept]:
    """Every retained word and caption once, and the empty prompt; nothing that is or names what is erased."""
    erased = {word.casefold() for concept in concepts for word in concept.words()}
    words = [word for concept in concepts for word in concept.retain if word.casefold() not in erased]
    captions = [caption for concept in concepts for caption in concept.kept_captions(erased)]
    return [Kept("", ""), *(Kept(word, word) for word in dict.fromkeys([*words, *captions]))]


def away(weight: Tensor, rows: Rows, to: Rows) -> Float[Tensor, "out n"]:
    """v* − W c by (2): the anchor's values without what they share with the concept's."""
    weight = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    own, anchor = weight @ rows.to(weight).T, weight @ to.to(weight).T
    unit = own / own.norm()
    return anchor - (unit * anchor).sum() * unit - own


def with_own_right(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same factors, each with the right one under its own name: those of a second group of maps."""
    own = {key: value for key, value in tensors.items() if key != RIGHT}
    return own | {key.removesuffix(LEFT) + RIGHT: tensors[RIGHT] for key in own if key.endswith(LEFT)}
