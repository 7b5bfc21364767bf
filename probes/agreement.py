"""How far two raters agree, as a rate and beyond chance, on things that come in clusters. All intervals are 95 %.

Both say yes or no to each of n things; p is the share on which they say the same, ā and b̄ their shares of yes.
    (1)  κ = (p − e)/(1 − e),   e = ā b̄ + (1 − ā)(1 − b̄)                     (Cohen 1960)
    (2)  n* = p(1 − p)/v, at most n;   v: variance of p over bootstrap draws of clusters   (Korn and Graubard 1998)
    (3)  Wilson's interval of p at n*:   (p + z²/2n* ± z √(p(1 − p)/n* + z²/4n*²)) / (1 + z²/n*)
(2) is the number of independent things that would tell p as well; where v is 0, each cluster counts as one. The
interval of κ is the wider of two, within [−1, 1]: the bootstrap's, and (3) put into (1), because no draw of raters who
always agree knows that they might not have. Where nearly all answers are alike, e is near 1 and κ is hardly known.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from probes.statistics import Interval, Z, bootstrap_means, middle_95, resamplings


class Agreement(NamedTuple):
    """What is known of two raters. Shares in [0, 1]; κ in [−1, 1], nan where one answer is all that both ever give."""

    n: int
    clusters: int
    rate: float
    low: float
    high: float
    kappa: float
    kappa_low: float
    kappa_high: float
    first: float  # ā
    second: float  # b̄


def agreement(
    first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"], clusters: Int[np.ndarray, "n"], *, seed: int = 0
) -> Agreement:
    """Agreement of two raters on n things.

    Args:
        first: What one says.
        second: What the other says.
        clusters: Numbers the cluster of each thing from 0, such as the prompt of a picture.
        seed: Of the bootstrap; 1,000 draws.

    Returns:
        Rate and κ with their intervals; everything nan for no things.
    """
    if len(first) == 0:
        return Agreement(0, 0, *[float("nan")] * 8)
    same, counts = first == second, _tables(first, second, clusters)
    rate, kappa = float(same.mean()), float(cohen_kappa(counts.sum(axis=0)))
    by_rate = clustered_wilson(same, clusters, seed=seed)
    chance = _chance(counts.sum(axis=0))
    ends = [*by_rate] if chance == 1 else [(end - chance) / (1 - chance) for end in by_rate]
    draws = cohen_kappa(resamplings(len(counts), (), seed, 1000) @ counts)
    drawn = middle_95(draws[np.isfinite(draws)]) if np.isfinite(draws).any() else Interval(kappa, kappa)
    low, high = (kappa, kappa) if np.isnan(kappa) else (max(-1.0, min(drawn.low, ends[0])), max(drawn.high, ends[1]))
    return Agreement(
        len(first), len(counts), rate, *by_rate, kappa, float(low), float(high), float(first.mean()),
        float(second.mean()),
    )  # fmt: skip


def cohen_kappa(counts: Num[np.ndarray, "*rows 4"]) -> Float[np.ndarray, "*rows"]:
    """κ of tables of counts. (1)

    Args:
        counts: How many things both call yes, the first alone, the second alone, and neither.

    Returns:
        κ of each table in [−1, 1]; nan where chance agreement is 1.
    """
    observed, chance = (counts[..., 0] + counts[..., 3]) / counts.sum(axis=-1), _chance(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)  # (1)


def clustered_wilson(hits: Bool[np.ndarray, "n"], clusters: Int[np.ndarray, "n"], *, seed: int = 0) -> Interval:
    """Wilson's interval of a rate of hits that come in clusters. (2), (3)

    Args:
        hits: At least one.
        clusters: Numbers the cluster of each from 0.
        seed: Of the bootstrap.

    Returns:
        The interval, in [0, 1].
    """
    p = float(np.mean(hits))
    variance = float(np.var(bootstrap_means(hits.astype(float), clusters, seed=seed)))
    alone = min(len(hits), p * (1 - p) / variance) if variance > 0 else len(np.unique(clusters))  # (2)
    middle, reach = p + Z**2 / (2 * alone), Z * np.sqrt(p * (1 - p) / alone + Z**2 / (4 * alone**2))
    low, high = (middle - reach) / (1 + Z**2 / alone), (middle + reach) / (1 + Z**2 / alone)  # (3)
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def _chance(counts: Num[np.ndarray, "*rows 4"]) -> Float[np.ndarray, "*rows"]:
    """e of (1)."""
    n = counts.sum(axis=-1)
    first, second = (counts[..., 0] + counts[..., 1]) / n, (counts[..., 0] + counts[..., 2]) / n
    return np.asarray(first * second + (1 - first) * (1 - second))


def _tables(
    first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "clusters 4"]:
    """The counts of `cohen_kappa` in each cluster."""
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    return np.stack([np.bincount(clusters, cell, int(clusters.max()) + 1) for cell in cells], axis=1)
