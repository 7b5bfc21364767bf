"""Neighbour concepts: what lies around a text embedding, drawn at random (RealEra) or looked for among named words.

RealEra (arXiv:2410.09140) erases not only the embedding e of a concept but a random set of embeddings around it, and
keeps those that lie farther out. With E = ‖e‖:
    (1)  N(e) = { e + η : ‖η‖ ≤ D₁,  S₁ ≤ cos(e, e + η) ≤ S₂ }                 the paper's set
    (2)  B(e) = { e + ξ : D₁ < ‖ξ‖ ≤ D₂,  cos(e, e + ξ) ≤ S₁ }                 our reading of "beyond"
    (3)  e + η = ρ (s ê + √(1−s²) û),  û ⊥ ê a random unit vector; at a distance of at most D exactly if
         ρ ∈ [E s − √Δ, E s + √Δ],  Δ = D² − E² (1−s²)
(3) never rejects a draw, where noise of a chosen length would: in many dimensions the length alone fixes the cosine.
Random neighbours are no words. Words are ranked by what they share with the target: the direction of their embedding,
the features of a sparse autoencoder that fire on them, the effect that the same interventions have on them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from saes.errors import WorkbenchError

MARGIN = 1e-9  # keeps draws off the border of their set, which rounding would carry them over


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """The sets (1) and (2) around any embedding. Distances are shares of its length ‖e‖, cosines lie in [0, 1].

    Samples from beyond point at most at a right angle to the embedding. Draws are made in float64 and returned in the
    rows' dtype: what is said of them holds up to its rounding.

    Raises:
        WorkbenchError: the limits leave one of the sets empty.
    """

    s1: float = 0.85  # S₁: the smallest cosine of a neighbour, the largest of what is beyond
    s2: float = 0.98  # S₂
    d1: float | None = None  # D₁ / ‖e‖; None: 1.05 √(1−S₁²), so that every cosine from S₁ on is possible
    d2: float | None = None  # D₂ / ‖e‖; None: 2 D₁, or 2 √(1−S₁²) if that is more

    def __post_init__(self) -> None:
        if not 0 <= self.s1 <= self.s2 <= 1:
            raise WorkbenchError(f"The cosines s1={self.s1}, s2={self.s2} do not ascend in [0, 1].", "Choose others.")
        if self.reach < (least := chord(self.s2)):
            raise WorkbenchError(
                f"No embedding has a cosine of {self.s2} or less within {self.reach:.3g} of a length: there are no "
                "neighbours to draw.", f"Raise d1 to {least:.3g} or more, or s2.",
            )  # fmt: skip
        if self.outer <= self.reach or self.outer < chord(self.s1):
            raise WorkbenchError(
                f"Nothing of a cosine up to {self.s1} lies between the distances {self.reach:.3g} and "
                f"{self.outer:.3g}.", "Raise d2.",
            )  # fmt: skip

    @property
    def reach(self) -> float:
        """D₁ / ‖e‖."""
        return 1.05 * chord(self.s1) if self.d1 is None else self.d1

    @property
    def outer(self) -> float:
        """D₂ / ‖e‖."""
        return 2 * max(self.reach, chord(self.s1)) if self.d2 is None else self.d2

    def neighbours(
        self, rows: Float[Tensor, "n d"], count: int, generator: torch.Generator
    ) -> Float[Tensor, "n count d"]:
        """Draws members of N(e), s uniform in [S₁, S₂] and ρ in its interval.

        Args:
            rows: embeddings e, `[n, d]`.
            count: how many for each.
            generator: the source of randomness.

        Returns:
            `[n, count, d]`.

        Raises:
            WorkbenchError: a row is zero.
        """
        low = max(self.s1, chord(self.reach))
        draw = Draw.of(rows, count, generator)
        s = low + draw.cosine * (self.s2 - low)
        half = half_width(self.reach * (1 - MARGIN), s)
        start = (s - half).clamp(min=MARGIN)
        return draw.at(s, start + draw.length * (s + half - start)).to(rows.dtype)  # (3)

    def beyond(self, rows: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Float[Tensor, "n count d"]:
        """Draws members of B(e) likewise: ρ from the part of the outer interval that the inner one leaves.

        Args:
            rows: embeddings e, `[n, d]`.
            count: how many for each.
            generator: the source of randomness.

        Returns:
            `[n, count, d]`.

        Raises:
            WorkbenchError: a row is zero.
        """
        low = chord(self.outer)
        draw = Draw.of(rows, count, generator)
        s = low + draw.cosine * (self.s1 - low)
        wide, narrow = half_width(self.outer * (1 - MARGIN), s), half_width(self.reach * (1 + MARGIN), s)
        start = (s - wide).clamp(min=MARGIN)
        below = (s - narrow - start).clamp(min=0)
        along = draw.length * (below + wide - narrow)
        found = draw.at(s, torch.where(along < below, start, s + narrow - below) + along)  # (3)
        assert not self.holds(rows.double(), found).any(), "the sets (1) and (2) overlap"
        return found.to(rows.dtype)

    def holds(self, rows: Float[Tensor, "n d"], samples: Float[Tensor, "n count d"]) -> Bool[Tensor, "n count"]:
        """Which samples are in N(e) of their row.

        Args:
            rows: embeddings e, `[n, d]`.
            samples: samples around each, `[n, count, d]`.

        Returns:
            `[n, count]`.
        """
        cosine, distance = cosine_and_distance(rows, samples)
        return (distance <= self.reach) & (self.s1 <= cosine) & (cosine <= self.s2)  # (1)


class Draw(NamedTuple):
    """The random part of (3): û, and where in their intervals s and ρ lie."""

    axis: Float[Tensor, "n 1 d"]  # ê
    across: Float[Tensor, "n count d"]  # û
    cosine: Float[Tensor, "n count"]  # in [0, 1)
    length: Float[Tensor, "n count"]  # in [0, 1)
    norm: Float[Tensor, "n 1 1"]  # E

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> "Draw":
        """Draws directions and places.

        Args:
            rows: embeddings e, `[n, d]`.
            count: how many for each.
            generator: the source of randomness; the draws go to the rows' device.

        Returns:
            The random part of (3).

        Raises:
            WorkbenchError: a row is zero.
        """
        norm = rows.double().norm(dim=1)[:, None, None]
        if not bool((norm > 0).all()):
            raise WorkbenchError("A row of zeros has no neighbourhood.", "Leave it out.")
        axis = rows.double()[:, None] / norm
        n, d = rows.shape
        noise, place = (
            draw(shape, generator=generator, device=generator.device, dtype=torch.float64).to(axis)
            for draw, shape in ((torch.randn, (n, count, d)), (torch.rand, (2, n, count)))
        )
        across = noise - (noise * axis).sum(-1, keepdim=True) * axis
        return cls(axis, across / across.norm(dim=-1, keepdim=True), place[0], place[1], norm)

    def at(self, s: Float[Tensor, "n count"], rho: Float[Tensor, "n count"]) -> Float[Tensor, "n count d"]:
        """(3) at given cosines and lengths.

        Args:
            s: cosines, `[n, count]`.
            rho: ρ as a share of E, `[n, count]`.

        Returns:
            Embeddings, `[n, count, d]`, float64.
        """
        direction = s[..., None] * self.axis + (1 - s**2).sqrt()[..., None] * self.across
        return self.norm * rho[..., None] * direction


def chord(length: float) -> float:
    """√(1−x²), 0 from x = 1 on.

    Args:
        length: x: a cosine, or a distance as a share of ‖e‖; ≥ 0.

    Returns:
        The least distance at a cosine of x, which is the least cosine within a distance of x.
    """
    return max(0.0, 1 - length**2) ** 0.5


def half_width(distance: float, s: Float[Tensor, "n count"]) -> Float[Tensor, "n count"]:
    """√Δ / E of (3).

    Args:
        distance: D / E.
        s: cosines, `[n, count]`.

    Returns:
        `[n, count]`; 0 where no ρ comes as near.
    """
    return (distance**2 - (1 - s**2)).clamp(min=0).sqrt()


def cosine_and_distance(
    rows: Float[Tensor, "n d"], samples: Float[Tensor, "n count d"]
) -> tuple[Float[Tensor, "n count"], Float[Tensor, "n count"]]:
    """Cosine and distance of each sample to its row.

    Args:
        rows: embeddings, `[n, d]`.
        samples: samples around each, `[n, count, d]`.

    Returns:
        Cosines `[n, count]`, and distances `[n, count]` as shares of the row's length.
    """
    cosine = torch.cosine_similarity(rows[:, None], samples, dim=-1)
    return cosine, (samples - rows[:, None]).norm(dim=-1) / rows.norm(dim=1, keepdim=True)


class Shared(NamedTuple):
    """Something measured alike of the target and of every candidate."""

    target: Float[Tensor, " m"]
    candidates: Float[Tensor, "n m"]


def neighbour_table(
    words: Sequence[str],
    embeddings: Shared,
    *,
    features: Shared | None = None,
    effects: Shared | None = None,
    around: Neighbourhood | None = None,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Ranks candidate words by how near they are to a target. Every score but distance is higher for nearer words.

    A few coordinates are large in every text embedding, so that unrelated words have a high raw cosine. The centred one
    leaves more room for a threshold: on the toy (mean end-of-text row of the templates, all objects, styles and
    characters) synonyms have 0.84 or more and others at most 0.67; raw, 0.93 and 0.87.

    Args:
        words: the candidates.
        embeddings: their embeddings and the target's.
        features: how strongly each feature fires on them, not negative.
        effects: what the same interventions change with them.
        around: the set to draw random neighbours from; None: that of RealEra's defaults.
        draws: number of random neighbours.
        seed: seed of the draws.

    Returns:
        A line for each word, the nearest first. Columns: word; cosine, of embeddings without the mean over target and
        candidates; raw_cosine, of them as they are; distance, in lengths of the target; reached in (0, 1], see
        `reached`; feature_overlap in [0, 1], Σ min / Σ max; effect_overlap in [−1, 1], the cosine of effects without
        their mean; rank, the mean of the ranks by cosine and, where given, by effect_overlap, or else by
        feature_overlap (else NaN).
    """
    cosine, distance = (
        values[0] for values in cosine_and_distance(embeddings.target[None], embeddings.candidates[None])
    )
    generator = torch.Generator().manual_seed(seed)
    drawn = (around or Neighbourhood()).neighbours(embeddings.target[None], draws, generator)[0]
    nothing = torch.full_like(cosine, torch.nan)
    columns = {
        "cosine": centred_cosine(embeddings),
        "raw_cosine": cosine,
        "distance": distance,
        "reached": reached(drawn, embeddings.candidates),
        "feature_overlap": overlap(*features) if features else nothing,
        "effect_overlap": centred_cosine(effects) if effects else nothing,
    }
    frame = pd.DataFrame({"word": list(words), **{name: values.cpu().numpy() for name, values in columns.items()}})
    ranks = frame[["cosine", "effect_overlap" if effects else "feature_overlap"]].rank(ascending=False)
    return frame.assign(rank=ranks.mean(axis=1)).sort_values(["rank", "word"], ignore_index=True)


def centred_cosine(shared: Shared) -> Float[Tensor, " n"]:
    """The cosine of target and candidates, each without the mean over all of them.

    Args:
        shared: target and candidates.

    Returns:
        `[n]` in [−1, 1].
    """
    mean = torch.cat([shared.target[None], shared.candidates]).mean(dim=0)
    return torch.cosine_similarity(shared.candidates - mean, (shared.target - mean)[None], dim=1)


def reached(drawn: Float[Tensor, "draws d"], candidates: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """How near each candidate is to random neighbours of the target: the mean over draws of 1 / rank by cosine.

    It is what a perturbation of the target's embedding would be read as, if it were read as a word.

    Args:
        drawn: random neighbours, `[draws, d]`.
        candidates: embeddings of words, `[n, d]`.

    Returns:
        `[n]` in (0, 1]; 1 for a word that is the nearest of every draw.
    """
    cosine = torch.cosine_similarity(drawn[:, None], candidates[None], dim=2)
    rank = cosine.argsort(dim=1, descending=True).argsort(dim=1) + 1
    return (1 / rank.to(cosine)).mean(dim=0)


def overlap(target: Float[Tensor, " m"], candidates: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """Σ min / Σ max over features.

    Args:
        target: how strongly each feature fires on the target, `[m]`, not negative.
        candidates: the same for each candidate, `[n, m]`.

    Returns:
        `[n]` in [0, 1]; 0 where nothing fires.
    """
    shared = torch.minimum(candidates, target).sum(dim=1)
    return shared / torch.maximum(candidates, target).sum(dim=1).clamp(min=torch.finfo(shared.dtype).tiny)


def calibration(table: pd.DataFrame, known: Collection[str]) -> pd.DataFrame:
    """How well each cosine of a `neighbour_table` tells known neighbours from all other words in it.

    Args:
        table: the table.
        known: words that are known to be neighbours.

    Returns:
        A line for each cosine. Columns: score; known_lowest, known_median, others_median, others_highest; auc, 1 if
        every known neighbour is above every other word; threshold, half-way between the lowest known and the highest
        other. If auc is 1, that of the raw cosine is an S₁ for (1), whose cosines are not centred.

    Raises:
        WorkbenchError: the table does not have words of both sorts.
    """
    is_known = table.word.isin(list(known))
    if not is_known.any() or is_known.all():
        raise WorkbenchError("Calibrating needs neighbours and other words.", "Name some of each among the candidates.")
    rows = []
    for score in ("cosine", "raw_cosine"):
        near, far = table[score][is_known], table[score][~is_known]
        rows.append(
            {
                "score": score,
                "known_lowest": near.min(), "known_median": near.median(),
                "others_median": far.median(), "others_highest": far.max(),
                "auc": roc_auc_score(is_known, table[score]),
                "threshold": (near.min() + far.max()) / 2,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
