"""The arithmetic of a study: intervals over prompts and control draws, tests against a margin, and sample sizes.

d_pk is a difference in [−1, 1] at prompt p (a mean over its seeds) from control draw k, at equal prompts and seeds.
θ is its mean over P prompts and K draws, δ the smallest effect that matters.
    (1)  θ* = Σ_p Σ_k w_p v_k d_pk / (P′ K),   w ~ Multinomial(P′, 1/P′), v ~ Multinomial(K, 1/K):  the bootstrap over
         prompts and over control draws, for another draw of random features is as much chance as another prompt
    (2)  P′ = P + 2: one prompt with the difference 1 and one with −1 are added, so that 5 of 5 is no certainty
         (the adjustment of Bonett & Price 2012, doi:10.3102/1076998611411915, for differences of paired rates)
    (3)  p = min(1, 2 (1 + min(#{θ* ≤ δ}, #{θ* ≥ δ})) / (1 + B))      against θ = δ, two-sided, B resamplings
    (4)  p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))                Holm 1979, over the m tests of a study
    (5)  s²(N, M) = (N v + 2) / (N + 2)² + b K / M,   v = ((s² − b) P′² − 2) / P ≥ 0,   s the standard deviation of θ*
         and b the part of s² that comes from the control draws, Σ_k (d̄_k − d̄)² / K²
    (6)  N = min {N : |θ̂ N/(N+2) − δ| ≥ (z_{1−α/2m} + z_{0.8}) s(N, M)}   the prompts with which, and M control draws, a
         study decides with a probability of 80 %, if effect and spread are as measured: a normal approximation.
         M is K, or as many doublings of it as it takes for any N to be enough
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from probes.statistics import resamplings

DRAWS = 10_000
POWER = 0.8
MOST = 100_000  # prompts beyond which nobody will go
DOUBLINGS = 6  # of the control draws
PSEUDO = np.array([[1.0], [-1.0]])  # (2)


class Estimate(NamedTuple):
    """θ with its interval at the confidence 1 − α, the draws θ* that it is from, and b of (5) as `between`."""

    value: float
    low: float
    high: float
    draws: Float[np.ndarray, " draws"]
    prompts: int
    controls: int
    between: float


class Needed(NamedTuple):
    """How many prompts and control draws would decide a test; infinitely many prompts if no number would."""

    prompts: float
    controls: int


def estimate(differences: Float[np.ndarray, "prompts controls"], *, alpha: float, seed: int) -> Estimate:
    """The mean of differences in [−1, 1] with its bootstrap interval (1), (2). One column where nothing is drawn.

    The value is that of the differences themselves; the interval is that of the adjusted ones.
    """
    padded = np.concatenate([differences, np.broadcast_to(PSEUDO, (2, differences.shape[1]))])  # (2)
    n_prompts, n_controls = padded.shape
    prompts = resamplings(n_prompts, (), seed, DRAWS)
    controls = resamplings(n_controls, (), seed + 1, DRAWS)
    draws = ((prompts @ padded) * controls).sum(axis=1) / (n_prompts * n_controls)  # (1)
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    between = float(padded.mean(axis=0).var()) / n_controls
    return Estimate(float(differences.mean()), float(low), float(high), draws, len(differences), n_controls, between)


def p_value(draws: Float[np.ndarray, " draws"], margin: float) -> float:
    """Two-sided, against a true value that equals the margin (3)."""
    fewer = min(int((draws <= margin).sum()), int((draws >= margin).sum()))
    return min(1.0, 2 * (1 + fewer) / (1 + len(draws)))  # (3)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the given order (4)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.minimum(1.0, np.asarray(p_values)[order] * (len(p_values) - np.arange(len(p_values))))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(steps)  # (4)
    return corrected.tolist()


def needed(found: Estimate, margin: float, *, alpha: float, tests: int) -> Needed:
    """How many prompts, and control draws, would decide on which side of the margin the effect lies (6)."""
    within = float(found.draws.var()) - found.between
    spread = max(0.0, (within * (found.prompts + 2) ** 2 - 2) / found.prompts)
    z = float(norm.ppf(1 - alpha / (2 * tests)) + norm.ppf(POWER))
    n = np.unique(np.geomspace(2, MOST, 4000).round())
    distance = np.abs(found.value * n / (n + 2) - margin)
    for doublings in range(DOUBLINGS + 1):
        variance = (n * spread + 2) / (n + 2) ** 2 + found.between / 2**doublings  # (5)
        enough = distance >= z * np.sqrt(variance)
        if enough.any():
            return Needed(float(n[enough.argmax()]), found.controls * 2**doublings)  # (6)
    return Needed(inf, found.controls)
