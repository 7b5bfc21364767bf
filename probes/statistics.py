"""The arithmetic of evaluation: rates, means and their intervals. Pure functions of arrays; all intervals are 95 %.

A·: share of images that show the concept they should; E target prompts, G synonyms, S others; b the unedited model.
    (1)  efficacy = 1 − A(E),  generality = 1 − A(G),  specificity = A(S)
    (2)  Wilson's interval of a rate
    (3)  bootstrap over prompts: prompts are drawn with replacement, with all their images; the same draw for both
         conditions of a difference. Own work: scipy's bootstrap knows neither groups nor shared draws
    (4)  McNemar, exact: X ~ Binomial(b + c, ½), b and c the two kinds of discordant pairs
    (5)  harmonic mean H = k / Σ 1/xᵢ, and 0 if any xᵢ is 0
    (6)  pixel drift = √mean((x − x')²),  feature drift = 1 − cos(f, f')
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.stats import binomtest, hmean

DRAWS = 1000  # bootstrap samples


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
    values: Float[np.ndarray, "n"], prompts: Int[np.ndarray, "n"], *, seed: int = 0, draws: int = DRAWS
) -> Float[np.ndarray, "draws"]:
    """Means of the values over resamplings of prompts. (3)

    Equal `prompts` and `seed` give equal draws, so the difference of two results is paired; results of different
    prompts need different seeds to be independent.

    Args:
        values: one for each image, `[n]`.
        prompts: the number of each value's prompt, `[n]`, from 0.
        seed: seed of the resamplings.
        draws: how many there are.

    Returns:
        A mean for each resampling, `[draws]`.
    """
    n_prompts = int(prompts.max()) + 1
    sums = np.bincount(prompts, values, n_prompts)
    counts = np.bincount(prompts, minlength=n_prompts)
    times = resamplings(n_prompts, seed, draws)
    return (times @ sums) / (times @ counts)  # (3)


@lru_cache(maxsize=64)  # the conditions of a run ask for the same ones, some for each metric and concept
def resamplings(n_prompts: int, seed: int, draws: int) -> Float[np.ndarray, "draws prompts"]:
    """How often each prompt is drawn in each resampling, with replacement.

    Args:
        n_prompts: prompts, and draws of a resampling.
        seed: seed of all.
        draws: resamplings.

    Returns:
        Counts `[draws, prompts]`; each row sums to `n_prompts`. The array is shared: do not change it.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=draws).astype(float)


def middle_95(draws: Float[np.ndarray, "draws"]) -> Interval:
    """The middle 95 % of resampled values.

    Args:
        draws: resampled values, `[draws]`.

    Returns:
        Their 2.5 % and 97.5 % quantiles.
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(low), float(high))


def mcnemar(before: Bool[np.ndarray, "n"], after: Bool[np.ndarray, "n"]) -> float:
    """McNemar's exact test of both conditions having one rate. (4)

    Args:
        before: whether each image shows it under one condition, `[n]`.
        after: the same under the other, at equal prompts and seeds.

    Returns:
        The two-sided p-value; 1 if no pair differs.
    """
    lost, gained = int(np.sum(before & ~after)), int(np.sum(~before & after))
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0  # (4)


def harmonic_mean(values: Sequence[float] | Sequence[Float[np.ndarray, "n"]]) -> Float[np.ndarray, "*n"]:
    """The harmonic mean of values in [0, 1], of arrays place by place. (5)

    Args:
        values: numbers, or arrays of one shape.

    Returns:
        A number or an array of that shape, in [0, 1]: 0 if any value is 0, nan for no values.
    """
    return np.asarray(hmean(np.asarray(values), axis=0) if len(values) else np.nan)  # (5)


def pixel_drift(before: UInt8[np.ndarray, "n h w 3"], after: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n"]:
    """Root mean square difference of the pixels of each pair of images. (6)

    Args:
        before: images, `[n, h, w, 3]`.
        after: those that each is compared with, of the same shape.

    Returns:
        `[n]`, in [0, 1]: 0 equal, 1 black against white.
    """
    difference = (before.astype(np.float64) - after.astype(np.float64)) / 255
    return np.sqrt(np.mean(difference**2, axis=(-3, -2, -1)))  # (6)


def feature_drift(before: Float[np.ndarray, "n d"], after: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    """Cosine distance of the features of each pair of images. (6)

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
    return np.where(equal, 0.0, 1 - cosine)  # (6)
