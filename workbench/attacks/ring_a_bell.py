"""Ring-A-Bell: a concept is a direction of the text encoder (Tsai et al. 2024, arXiv:2310.10012).

E encodes a prompt as the denoiser reads it, position by position; p⁺ᵢ are prompts with the concept, p⁻ᵢ without it:
    (1)  c = (1/M) Σᵢ [E(p⁺ᵢ) − E(p⁻ᵢ)]                 the concept; 0 at the first position, where all prompts agree
    (2)  y = E(p) + η c                                 the target of a prompt p
    (3)  min over K ids of ‖E([begin, ids, end, …]) − y‖²    by a genetic search, in the variant "ga"
The variant "embedding" hands y itself to the denoiser, as RECE evaluates: an upper bound for (3), since y is no
prompt's encoding. The variant "pairs" draws the p⁺ᵢ themselves, what TRCE calls Ring-A-Bell: a test of plain prompts.

E is the edited model's own, since an edit of the text encoder would else be left out; published numbers take the
unedited one. The search keeps an unchanged copy of its best (elitism), which the official one does not: there mutation
also hits survivors, and the best loss can rise. c averages over all pairs at once, not over batches of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.applying import check_applies
from workbench.attacks.at_random import RandomPrompt
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.genetic import Genetic, framed
from workbench.attacks.trying import Search, Try, try_all
from workbench.attacks.wording import worded
from workbench.concepts import Concept
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.pairs import safe_pairs
from workbench.models import Encoding, Model, TokenIds
from workbench.models.capabilities import DENOISER, TEXT_ENCODER
from workbench.models.model import Change
from workbench.papers import Reference

Variant = Literal["embedding", "ga", "pairs"]


class Direction(NamedTuple):
    """c of (1): of the tokens' rows, and of the pooled prompt where a model has one."""

    embeddings: Float[Tensor, "tokens d"]
    pooled: Float[Tensor, " d_pooled"] | None


@dataclass(frozen=True, kw_only=True)
class RingABell(AttackMethod):
    """Moves prompts along the direction of the concept in the text encoder."""

    unsafe: Annotated[tuple[str, ...], Doc("p⁺: prompts with the concept.")]
    safe: Annotated[tuple[str, ...], Doc("p⁻: the same prompts without it, in the same order.")]
    variant: Annotated[Variant, Doc("What is drawn: the moved encoding, the ids nearest to it, or p⁺ themselves.")] = (
        "embedding"
    )
    eta: Annotated[tuple[float, ...], Doc("η, in the order of trial; ga takes the first.")] = (3.0,)
    tokens: Annotated[int, Ge(1), Doc("K of ga.")] = 16
    population: Annotated[int, Ge(2), Doc("Prompts of a generation, ga.")] = 200
    generations: Annotated[int, Ge(1), Doc("Of ga.")] = 3000
    crossover: Annotated[float, Ge(0), Le(1), Doc("How likely two survivors have children, ga.")] = 0.5
    mutation: Annotated[float, Ge(0), Le(1), Doc("How likely one token of a prompt is drawn anew, ga.")] = 0.25

    name: ClassVar[str] = "ring_a_bell"
    paper: ClassVar[Reference] = Reference(
        title="Ring-A-Bell! How Reliable are Concept Removal Methods for Diffusion Models?",
        authors="Y.-L. Tsai, C.-Y. Hsu, C. Xie, C.-H. Lin, J.-Y. Chen, B. Li, P.-Y. Chen, C.-M. Yu, C.-Y. Huang",
        year=2024, arxiv="2310.10012", venue="ICLR",
    )  # fmt: skip
    access: ClassVar[str] = "text encoder"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({DENOISER, TEXT_ENCODER}),)
    cost: ClassVar[str] = "a picture an η; ga: population × generations encodings, and a picture"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.unsafe or len(self.unsafe) != len(self.safe):
            raise WorkbenchError(
                f"There are {len(self.unsafe)} prompts with the concept and {len(self.safe)} without it.",
                "Give as many of both, at least one: `unsafe` and `safe`.",
            )
        if not self.eta:
            raise WorkbenchError("There is no η to try.", "Give at least one.")

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> RandomPrompt | None:
        """K random tokens for ga, whose prompts are tokens all through."""
        return RandomPrompt(length=self.tokens) if self.variant == "ga" else None

    @classmethod
    def told_by(cls, concept: Concept) -> dict[str, Any]:
        """Its sentences beside the nearest safe ones."""
        pairs = safe_pairs(concept)
        return {"unsafe": tuple(one.unsafe for one in pairs), "safe": tuple(one.safe for one in pairs)}

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A text encoder, unless prompts are all that is tried; for ga, room for the tokens."""
        if self.variant != "pairs":  # these are prompts like any
            check_applies(self, model)
        if self.variant == "ga":
            framed(model, torch.zeros(1, self.tokens, dtype=torch.int64))

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The first η whose picture shows the concept; of ga, whether that of the fittest prompt does."""
        self.check(model, rows, budget)
        found = [Search(row) for row in rows]
        with model.edited(edit):
            rounds = self._rounds(model, rows, seed, progress)[: budget.images]
            for tries in progress(rounds, self.variant):
                going = [pair for pair in zip(found, tries, strict=True) if not pair[0].success]
                try_all(model, going, judge, **sampling)
        return [one.attempt() for one in found]

    @torch.no_grad()
    def _rounds(self, model: Model, rows: Sequence[SuiteRow], seed: int, progress: Progress) -> list[list[Try]]:
        """What is tried one after another, for each row."""
        if self.variant == "pairs":
            return [[Try(row, prompt) for row in rows] for prompt in dict.fromkeys(self.unsafe)]
        c = direction(model, self.unsafe, self.safe)
        plain = [model.encode(row.prompt) for row in rows]
        if self.variant == "embedding":
            return [
                [Try(row, row.prompt, moved(one, c, eta)) for row, one in zip(rows, plain, strict=True)]
                for eta in self.eta
            ]
        targets = torch.cat([moved(one, c, self.eta[0]).embeddings for one in plain]).to(c.embeddings)
        draws = [own_generator(row, seed, self.name) for row in rows]
        search = Genetic(self.tokens, self.population, self.generations, self.crossover, self.mutation)
        best = search.fittest(model, targets, draws, progress)
        return [
            [Try(row, *worded(model, TokenIds(framed(model, ids[None])))) for row, ids in zip(rows, best, strict=True)]
        ]


def direction(model: Model, unsafe: Sequence[str], safe: Sequence[str]) -> Direction:
    """(1), by the model as it is."""
    parts = [(model.encode(one), model.encode(other)) for one, other in zip(unsafe, safe, strict=True)]
    embeddings = torch.stack([one.embeddings[0] - other.embeddings[0] for one, other in parts]).mean(dim=0)  # (1)
    pooled = [one.pooled[0] - other.pooled[0] for one, other in parts
              if one.pooled is not None and other.pooled is not None]  # fmt: skip
    return Direction(embeddings, torch.stack(pooled).mean(dim=0) if pooled else None)


def moved(encoding: Encoding, c: Direction, eta: float) -> Encoding:
    """(2) on the CPU, without the prompt's text: it is no longer what is drawn."""
    pooled = None if encoding.pooled is None or c.pooled is None else (encoding.pooled + eta * c.pooled).cpu()
    return Encoding((encoding.embeddings + eta * c.embeddings).cpu(), pooled, encoding.roles)  # (2)
