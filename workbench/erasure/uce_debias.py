"""UCE's debias mode: what a word brings about unasked, in wanted shares. It is a part of Unified Concept Editing in
Diffusion Models (Gandikota et al. 2024, arXiv:2308.14761).

"A photo of a baker" shows a woman or a man though it asks for neither. Round by round, images of the word are made, a
voter says which attribute j each one shows, and the word's tokens c are made to read a little more like those of the
attributes that are too rare, c_j, and less like those of the others:
    (1)  W′c = v*,   v* = W (c + Σ_j α_j c_j)          solved with all words, kept prompts and damping as in `uce`
    (2)  α_j ← α_j + η (desired_j − observed_j)        α = 0 at first
    (3)  a word whose largest |desired_j − observed_j| is below the tolerance keeps its α in this round
It is over after a round in which all words keep theirs. This is the code of 2025 (28c81ed): every round is solved from
the original W while α adds up, there by writing into cached values, here in a tensor of its own. Its option η = 0.1 is
never read, so that it works with η = 1, by which ten votes' chance alone moves α by a sixth; here it counts.
The code of 2023 (f7222e6) edits the W of the round before with this round's η (desired − observed) alone, η = 0.1; adds
the attributes in units of the word's own values, α_j ‖W C‖ u_j with u_j = W C_j / ‖W C_j‖; takes "woman baker" for C_j,
and all tokens from the last of the word on (`tokens="all"` here); and keeps a settled word as a preserved one for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.erasure.uce import UCE, kept_prompts, with_own_right
from workbench.erasure.voters import Voter, find_voter
from workbench.fitting.least_squares import Gram, Ridge, Rows, deltas, one_dtype
from workbench.fitting.rows import same_tokens, subject_rows
from workbench.models import Diffusion
from workbench.models.capabilities import PROMPT_MAPS
from workbench.papers import Reference

Shares = Float64[Tensor, "words attributes"]


@dataclass(frozen=True, kw_only=True)
class UCEDebias(ErasureMethod):
    """Closed-form debiasing: each concept is a word whose images get the attributes in wanted shares. A `WeightEdit`.

    Anchors have no part in it. `settings["observed"]` holds the shares of every round, the first of the unedited model.
    """

    attributes: Annotated[tuple[str, ...], Doc("Words for what is to be shared out.")] = ("woman", "man")
    shares: Annotated[tuple[float, ...] | None, Doc("Desired, of each attribute; None: equal.")] = None
    voter: Annotated[str, Doc("A name of `VOTERS`, or module:function.")] = "toy"
    images: Annotated[int, Ge(1), Doc("Of each word in each round.")] = 10
    rounds: Annotated[int, Ge(1), Doc("At most.")] = 30
    step: Annotated[float, Doc("η: how far a round moves α.")] = 0.1
    tolerance: Annotated[float, Ge(0), Doc("A share that is off by less is as wanted.")] = 0.05
    tokens: Annotated[Literal["all", "last"], Doc("From the last subject token on | that alone.")] = "last"
    erase_scale: Annotated[float, Ge(0), Doc("s_e: weight of what is moved.")] = 1.0
    preserve_scale: Annotated[float | None, Ge(0), Doc("s_p, as in UCE.")] = None
    damping: Annotated[float, Ge(0), Doc("λ: how much the maps are held where they were.")] = 0.5

    name: ClassVar[str] = "uce_debias"
    paper: ClassVar[Reference] = UCE.paper
    family: ClassVar[str] = "closed form"
    supports: ClassVar[Supports] = Supports({PROMPT_MAPS})
    cost: ClassVar[str] = "up to 300 images a concept"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.attributes) < 2:
            raise WorkbenchError("There is nothing to balance.", "Give two attributes or more.")
        shares = self._desired()
        if len(shares) != len(self.attributes) or shares.min() < 0 or abs(shares.sum() - 1) > 1e-6:
            raise WorkbenchError(
                f"The shares {self.shares} do not divide {', '.join(self.attributes)}.",
                "Give one of 0 or more for each attribute, which add up to 1.",
            )

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Edits, looks at pictures, and edits again.

        Args:
            model: The model; it stays as it is.
            concepts: Words whose pictures get the attributes in the wanted shares, all at once.
            seed: Round r draws its pictures from the seeds seed + r · images, …
            progress: Told of each round.

        Returns:
            Changes of all maps that read the prompt.

        Raises:
            WorkbenchError: For a concept that is one of the attributes, and if the voter sees no attribute in any
                picture of a concept.
        """
        self.supports.check("UCEDebias", model, concepts)
        self._check_words(model, concepts)
        voter, desired = find_voter(self.voter), self._desired()
        problems = self._problems(model, concepts)
        alpha = torch.zeros(len(concepts), len(desired), dtype=torch.float64)
        observed: list[Shares] = []
        for number in progress(range(self.rounds), "rounds of images"):
            edit = self._edit(model, concepts, problems, alpha, observed, seed)
            with model.edited(edit):
                observed.append(self._observe(model, voter, concepts, seed + number * self.images))
            change = corrections(observed[-1], desired, self.step, self.tolerance)
            if not change.any():
                break
            alpha = alpha + change  # (2)
        return self._edit(model, concepts, problems, alpha, observed, seed)

    def _check_words(self, model: Diffusion, concepts: Sequence[Concept]) -> None:
        for concept in concepts:
            for attribute in self.attributes:
                if same_tokens(model, concept.name, attribute):
                    raise WorkbenchError(
                        f"{concept.name!r} is one of the attributes to balance.", "Name a word that implies one."
                    )

    def _desired(self) -> Float64[Tensor, " attributes"]:
        n = len(self.attributes)
        return torch.tensor([1 / n] * n if self.shares is None else self.shares, dtype=torch.float64)

    def _problems(self, model: Diffusion, concepts: Sequence[Concept]) -> list["Problem"]:
        """What stays the same in all rounds, for the maps that read tokens and those that read pooled embeddings."""
        solver, kept = self._uce(), kept_prompts(concepts)
        problems = []
        for reads in ("embeddings", "pooled"):
            maps = model.prompt_maps(reads)  # type: ignore[arg-type]
            if reads == "pooled" and not maps:
                continue
            one_dtype(maps)
            gram = Gram(next(iter(maps.values())).shape[1], model.device)
            for some in solver.kept_rows(model, reads, kept, SILENT):  # type: ignore[arg-type]
                gram.add(some, solver.scale_of(len(kept)))
            words = [[concept.name, *self.attributes] for concept in concepts]
            rows = [subject_rows(model, one, one, self.tokens, reads) for one in words]  # type: ignore[arg-type]
            problems.append(Problem(maps, rows, gram))
        return problems

    def _uce(self) -> UCE:
        return UCE(
            tokens=self.tokens, erase_scale=self.erase_scale, preserve_scale=self.preserve_scale, damping=self.damping
        )

    def _edit(
        self, model: Diffusion, concepts: Sequence[Concept], problems: Sequence["Problem"],
        alpha: Shares, observed: Sequence[Shares], seed: int,
    ) -> WeightEdit:  # fmt: skip
        tensors: dict[str, Tensor] = {}
        for problem in problems:
            rows = solved(problem, alpha, self.erase_scale, self.damping)
            tensors |= with_own_right(rows) if tensors else rows
        names, kept = [concept.name for concept in concepts], len(kept_prompts(concepts))
        found = {
            "preserve_scale": self._uce().scale_of(kept), "kept": kept,
            "alpha": dict(zip(names, alpha.tolist(), strict=True)),
            "observed": {name: [one[i].tolist() for one in observed] for i, name in enumerate(names)},
        }  # fmt: skip
        return WeightEdit(
            tensors={name: tensor.cpu() for name, tensor in tensors.items()}, 
            **self.told(model, concepts, seed, found),
        )  # fmt: skip

    def _observe(self, model: Diffusion, voter: Voter, concepts: Sequence[Concept], first_seed: int) -> Shares:
        seeds = range(first_seed, first_seed + self.images)
        rows = []
        for concept in concepts:
            prompts = list(islice(cycle(concept.prompts()), self.images))
            votes = voter(model.generate(prompts, seeds), self.attributes)
            if not (votes >= 0).any():
                raise WorkbenchError(
                    f"In {self.images} images of {concept.name!r} the voter {self.voter!r} sees no "
                    f"{' or '.join(self.attributes)}.",
                    "Give the concept templates that show it clearly, or more images.",
                )
            rows.append(shares_of(votes, len(self.attributes)))
        return torch.stack(rows)


class Problem(NamedTuple):
    """Maps that read the same rows; each word's rows c and c_j `[1 + attributes, n, d]`; Σ s_p k kᵀ of what is kept."""

    maps: Mapping[str, Tensor]
    rows: Sequence[Float[Tensor, "words n d"]]
    kept: Gram


def solved(problem: Problem, alpha: Shares, erase_scale: float, damping: float) -> dict[str, Tensor]:
    """Δ of every map, as tensors of a `WeightEdit`."""
    ridge = Ridge(problem.kept.d, damping, problem.rows[0].device, kept=problem.kept)
    for rows, own in zip(problem.rows, alpha, strict=True):
        ridge.move(rows[0], towards(rows[0], rows[1:], own), erase_scale)
    return deltas(problem.maps, ridge.solve())


def towards(c: Rows, attributes: Float[Tensor, "attributes n d"], alpha: Float64[Tensor, " attributes"]) -> Rows:
    """What the word's tokens shall read as."""
    return c + torch.einsum("j,jnd->nd", alpha.to(c), attributes)  # (1)


def corrections(observed: Shares, desired: Float64[Tensor, " attributes"], step: float, tolerance: float) -> Shares:
    """What α changes by; 0 for words that are near enough."""
    gaps = desired - observed
    far = gaps.abs().amax(dim=1, keepdim=True) >= tolerance  # (3)
    return step * gaps * far


def shares_of(votes: Int64[np.ndarray, " n"], attributes: int) -> Float64[Tensor, " attributes"]:
    """The share of each attribute among the votes that were cast (those of at least 0)."""
    counts = np.bincount(votes[votes >= 0], minlength=attributes)
    return torch.from_numpy(counts / counts.sum())
