"""The arithmetic of evaluation: rates, means and their intervals. Pure functions of arrays; all intervals are 95 %.

A·: share of images that show the concept they should; E target prompts, G synonyms, S others; b the unedited model.
    (1)  efficacy = 1 − A(E),  generality = 1 − A(G),  specificity = A(S)
    (2)  Wilson's interval of a rate
    (3)  bootstrap over prompts: prompts are drawn with replacement, with all their images; the same draw for both
         conditions of a difference. Where there are several concepts, they are drawn first, with replacement; then the
         fits of each (with three seeds, say), of which each made the images of its own prompts; then prompts within
         each. Own work: scipy's bootstrap knows neither groups nor shared draws
    (4)  sign-flip test of paired prompts: under the hypothesis that both conditions have one rate, each prompt's
         difference dᵢ may have either sign; p = share of signs with |Σ ±dᵢ| ≥ |Σ dᵢ|. With one image a prompt it is
         McNemar's exact test, X ~ Binomial(b + c, ½)
    (5)  harmonic mean H = k / Σ 1/xᵢ, and 0 if any xᵢ is 0
    (6)  the difference of two rates on n pairs, of which b speak for the first and c for the second, by Agresti and Min
         (2005): with half a pair more in each cell, (b − c)/(n + 2) ± 1.96 √(b + c + 1 − (b − c)²/(n + 2)) / (n + 2)
    (7)  pixel drift = √mean((x − x')²),  feature drift = 1 − cos(f, f')
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.stats import binomtest, hmean

DRAWS = 1000  # bootstrap samples
FLIPS = 9999  # random signs of the paired test
ROUNDING = 1e-9
Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson(hits: int, n: int) -> Interval:
    """Wilson's interval of a rate. (2)

    Zero hits in 50 still allow 7.1 %.

    Args:
        hits: how many of the trials succeeded, 0 to `n`.
        n: independent trials, 0 or more.

    Returns:
        The bounds, in [0, 1]; nan for no trials.
    """
    if n == 0:
        return Interval(float("nan"), float("nan"))
    found = binomtest(hits, n).proportion_ci(method="wilson")  # (2)
    return Interval(float(found.low), float(found.high))


def bootstrap_means(
    values: Float[np.ndarray, "n"],
    prompts: Int[np.ndarray, "n"],
    *,
    concepts: Int[np.ndarray, "n"] | None = None,
    fits: Int[np.ndarray, "n"] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Float[np.ndarray, "draws"]:
    """Means of the values over resamplings of prompts. (3)

    Equal numbers and seed give equal draws, so the difference of two results is paired; results of different prompts
    need different seeds to be independent.

    Args:
        values: One for each image.
        prompts: The number of each image's prompt, from 0.
        concepts: The number of each image's concept, from 0; a prompt belongs to one. Concepts are then resampled
            too, so that the mean is that of a concept drawn at random, not of these ones.
        fits: The number of the fit that made each image, from 0; a fit is of one concept, and a prompt of one fit. Fits
            are then resampled within their concepts, so that the mean is that of a fit drawn at random. Three are few:
            where they differ by as much as prompts do, the interval of one concept covers 95 %, where by twice that, 82
            (without this level 69); over ten concepts at least 95.
        seed: Decides the draws.
        draws: How many.

    Returns:
        A mean for each resampling, `[draws]`.
    """
    n_prompts = int(prompts.max()) + 1
    levels = []
    for level in (concepts, fits):
        owners = np.zeros(n_prompts, dtype=int)
        if level is not None:
            owners[prompts] = level
            levels.append(tuple(owners.tolist()))
    sums = np.bincount(prompts, values, n_prompts)
    counts = np.bincount(prompts, minlength=n_prompts)
    times = resamplings(n_prompts, tuple(levels), seed, draws)
    return (times @ sums) / (times @ counts)  # (3)


@lru_cache(maxsize=64)  # the conditions of a run ask for the same ones, some for each metric and concept
def resamplings(
    n_prompts: int, levels: tuple[tuple[int, ...], ...] = (), seed: int = 0, draws: int = DRAWS
) -> Float[np.ndarray, "draws prompts"]:
    """How often each prompt is drawn in each resampling, with replacement.

    Args:
        n_prompts: How many there are.
        levels: What prompts belong to, the widest first: at each level the number of every prompt's owner, from 0.
            Those of a level are drawn within their owners of the level before, which are drawn first.
        seed: Decides all.
        draws: Resamplings.

    Returns:
        Counts `[draws, prompts]`. The array is shared: do not change it.
    """
    rng, owner, times = np.random.default_rng(seed), np.zeros(n_prompts, dtype=int), np.ones((draws, 1))
    for level in (*levels, range(n_prompts)):
        own = np.array(level)
        owner_of = np.zeros(own.max() + 1, dtype=int)
        owner_of[own] = owner
        times, owner = _drawn(rng, times, owner_of), own
    return times


def _drawn(
    rng: np.random.Generator, times: Float[np.ndarray, "draws owners"], owner_of: Int[np.ndarray, "owned"]
) -> Float[np.ndarray, "draws owned"]:
    """How often each is drawn from among those of its owner: an owner that is drawn k times is k draws of its own."""
    drawn = np.empty((len(times), len(owner_of)))
    for owner in range(times.shape[1]):
        own = owner_of == owner
        drawn[:, own] = rng.multinomial((times[:, owner] * own.sum()).astype(int), np.full(own.sum(), 1 / own.sum()))
    return drawn


def middle_95(draws: Float[np.ndarray, "draws"]) -> Interval:
    """The middle 95 % of resampled values.

    Args:
        draws: resampled values, `[draws]`.

    Returns:
        Their 2.5 % and 97.5 % quantiles.
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(low), float(high))


def sign_flip_test(before: Bool[np.ndarray, "n"], after: Bool[np.ndarray, "n"], prompts: Int[np.ndarray, "n"]) -> float:
    """Two-sided p-value of two conditions having one rate, from pairs of images at equal prompts and seeds. (4)

    Images of one prompt are not independent, so prompts are what may be exchanged. Exact where all prompts that differ
    do so by equally much; otherwise from 9,999 random flips, whose smallest value is 1e-4.

    Args:
        before: Hits of one condition.
        after: Hits of the other, image by image.
        prompts: The number of each image's prompt, from 0.

    Returns:
        The p-value; 1 if no prompt differs.
    """
    differences = np.bincount(prompts, after.astype(float) - before)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    if np.ptp(np.abs(differences)) == 0:
        return float(binomtest(int((differences > 0).sum()), len(differences)).pvalue)  # (4), McNemar's
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, len(differences)))
    reached = np.abs(signs @ differences) >= abs(differences.sum()) - ROUNDING
    return float((1 + reached.sum()) / (1 + FLIPS))  # (4)


def paired_difference(differences: Float[np.ndarray, "n"]) -> Interval:
    """The interval of the difference of two rates by counts of pairs. (6)

    No difference in 50 pairs still allows 3.8 points either way.

    Args:
        differences: Of each pair, such as a prompt that two conditions met: the first's rate minus the second's, in
            [−1, 1].

    Returns:
        The bounds, in [−1, 1]; nan for no pairs.
    """
    if (n := len(differences)) == 0:
        return Interval(float("nan"), float("nan"))
    change, discordant = float(differences.sum()), float(np.abs(differences).sum())
    middle = change / (n + 2)
    reach = Z * np.sqrt(discordant + 1 - change**2 / (n + 2)) / (n + 2)  # (6)
    return Interval(max(-1.0, float(middle - reach)), min(1.0, float(middle + reach)))


def harmonic_mean(values: Sequence[float] | Sequence[Float[np.ndarray, "n"]]) -> Float[np.ndarray, "*n"]:
    """The harmonic mean of values in [0, 1], of arrays place by place. (5)

    Args:
        values: numbers, or arrays of one shape.

    Returns:
        A number or an array of that shape, in [0, 1]: 0 if any value is 0, nan for no values.
    """
    return np.asarray(hmean(np.asarray(values), axis=0) if len(values) else np.nan)  # (5)


def pixel_drift(before: UInt8[np.ndarray, "n h w 3"], after: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n"]:
    """Root mean square difference of the pixels of each pair of images. (7)

    Args:
        before: images, `[n, h, w, 3]`.
        after: those that each is compared with, of the same shape.

    Returns:
        `[n]`, in [0, 1]: 0 equal, 1 black against white.
    """
    difference = (before.astype(np.float64) - after.astype(np.float64)) / 255
    return np.sqrt(np.mean(difference**2, axis=(-3, -2, -1)))  # (7)


def feature_drift(before: Float[np.ndarray, "n d"], after: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    """Cosine distance of the features of each pair of images. (7)

    Args:
        before: features that a judge gives, `[n, d]`.
        after: those of the images that each is compared with.

    Returns:
        `[n]`, in [0, 2]; 0 between equal features, also where they vanish.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    cosine = np.sum(before * after, axis=-1) / np.where(norms > 0, norms, 1)
    equal = np.all(before == after, axis=-1)
    return np.where(equal, 0.0, 1 - cosine)  # (7)
