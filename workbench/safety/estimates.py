"""Estimates from what a judge reads off pictures, with 95 % intervals over prompts, paired with the unedited model.

Pictures come with codes: the place of the class that the judge sees, −1 where it could not read. All intervals resample
prompts with all their pictures (`probes.statistics.resamplings`), the same draws before and after.
    (1)  share of a class: the wider of the bootstrap and Wilson's interval for clusters (`probes.agreement`), because
         no draw of 50 safe pictures knows that they might not have been
    (2)  NKL: draws θ* moved by twice their bias, θ* − 2 (mean θ* − θ), and cut at 0 and 1: NKL is too large in few
         pictures by its floor, and its draws by as much again
    (3)  difference of two NKL: the wider of the bootstrap and an interval for counts of prompts, by the slope of NKL,
         g_k = ln(p_k K) / ln K, with dᵢ = Σ_k g_k (change of class k in prompt i), of width w = max g − min g:
         w · (interval of the mean of dᵢ / w by `paired_difference`). Only for g, each count is half a picture more,
         and the largest one more: equal shares have no slope
    (4)  mean of shares with weights w: v ± √(Σ w²(vᵢ − endᵢ)²), from the tasks' own ends (Zou and Donner 2008)
In simulations of seven distributions (2 to 7 classes; 24, 48 and 250 prompts of two pictures) (2) covered 89 to 100 %,
least for the most uneven one of seven classes in 24 prompts; the draws as they are covered 0 to 98. In 32 simulated
edits of 24 and 100 prompts (3) covered 95 to 100 %, the bootstrap alone 52 to 100.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from probes.agreement import clustered_wilson
from probes.statistics import Interval, middle_95, paired_difference, resamplings
from workbench.safety.metrics import nkl, safe_rate

Codes = Int[np.ndarray, "n"]


class Seen(NamedTuple):
    """What a judge reads off the same prompts and seeds, after and before an edit: codes, and the pictures' prompts."""

    after: Codes
    before: Codes
    prompts: Codes


class Estimate(NamedTuple):
    """A figure with its interval, the unedited model's, their difference, and what it rests on."""

    value: float
    low: float
    high: float
    unedited: float
    difference: float
    difference_low: float
    difference_high: float
    n: int
    asked: int
    prompts: int


def class_counts(codes: Codes, classes: int, prompts: Codes) -> Int[np.ndarray, "prompts classes"]:
    """How many pictures of each prompt are of each class.

    Args:
        codes: Places of classes, −1 for pictures that count nowhere.
        classes: K.
        prompts: The number of each picture's prompt, from 0.

    Returns:
        The counts.
    """
    n_prompts, read = int(prompts.max(initial=-1)) + 1, codes >= 0
    flat = np.bincount(prompts[read] * classes + codes[read], minlength=n_prompts * classes)
    return flat.reshape(n_prompts, classes)


def share(seen: Seen, place: int, classes: int) -> Estimate:
    """The share of one class among the pictures that were read. (1)

    Args:
        seen: What was read, of at least one prompt.
        place: The class.
        classes: K.

    Returns:
        In [0, 1]; nan where nothing was read.
    """
    values, draws, ends = [], [], []
    for codes in (seen.after, seen.before):
        counts = class_counts(codes, classes, seen.prompts)
        whole, drawn = counts.sum(axis=0, keepdims=True), resamplings(len(counts)) @ counts
        values.append(float(safe_rate(whole[:, place], whole.sum(axis=1))[0]))
        draws.append(safe_rate(drawn[:, place], drawn.sum(axis=1)))
        ends.append(_ends(codes, place, seen.prompts, draws[-1]))
    counted = paired_difference(_by_prompt(seen, (np.arange(classes) == place).astype(float)))
    change = _widest(middle(draws[0] - draws[1]), counted)
    return Estimate(values[0], *ends[0], values[1], values[0] - values[1], *change, *_counts(seen))


def divergence(seen: Seen, classes: int) -> Estimate:
    """NKL of the classes among the pictures that were read. (2), (3)

    Args:
        seen: What was read, of at least one prompt.
        classes: K.

    Returns:
        In [0, 1]; nan where nothing was read.
    """
    counts = [class_counts(codes, classes, seen.prompts) for codes in (seen.after, seen.before)]
    values = [float(nkl(one.sum(axis=0))) for one in counts]
    draws = [nkl(resamplings(len(one)) @ one) for one in counts]
    low, high = _moved(draws[0], values[0])
    change = _widest(middle(draws[0] - draws[1]), _counted(seen, counts[0].sum(axis=0) + counts[1].sum(axis=0)))
    ends = (float(np.fmax(low, 0)), float(np.fmin(high, 1))) if np.isfinite(values[0]) else (low, high)
    return Estimate(values[0], *ends, values[1], values[0] - values[1], *change, *_counts(seen))


def mean_of(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """The weighted mean of estimates of different prompts. (4)

    Args:
        estimates: At least one.
        weights: One each; they need not add up to 1.

    Returns:
        Their mean.
    """
    w = np.array(weights, float) / sum(weights)
    table = np.array([one[:7] for one in estimates])
    value, unedited, difference = (float(w @ table[:, column]) for column in (0, 3, 4))

    def ends(middle: float, columns: tuple[int, int, int]) -> Interval:
        at, low, high = (table[:, column] for column in columns)
        reach = [float(np.sqrt(np.sum((w * (at - end)) ** 2))) for end in (low, high)]  # (4)
        return Interval(middle - reach[0], middle + reach[1])

    return Estimate(
        value, *ends(value, (0, 1, 2)), unedited, difference, *ends(difference, (4, 5, 6)),
        sum(one.n for one in estimates), sum(one.asked for one in estimates), sum(one.prompts for one in estimates),
    )  # fmt: skip


def middle(draws: Float[np.ndarray, "draws"]) -> Interval:
    """The middle 95 % of the draws that are numbers.

    Args:
        draws: Some may be nan, where nothing of a draw was read.

    Returns:
        nan if none is a number.
    """
    numbers = draws[np.isfinite(draws)]
    return middle_95(numbers) if len(numbers) else Interval(float("nan"), float("nan"))


def _ends(codes: Codes, place: int, prompts: Codes, draws: np.ndarray) -> Interval:
    read = codes >= 0
    if not read.any():
        return Interval(float("nan"), float("nan"))
    counted = clustered_wilson(codes[read] == place, pd.factorize(prompts[read])[0])
    return _widest(middle(draws), counted)


def _by_prompt(seen: Seen, worth: Float[np.ndarray, "classes"]) -> Float[np.ndarray, "prompts"]:
    """The mean change of each prompt, by what each class is worth, over its pictures that were read both times."""
    both = (seen.after >= 0) & (seen.before >= 0)
    change = worth[seen.after[both]] - worth[seen.before[both]]
    numbers = np.bincount(seen.prompts[both])
    return np.bincount(seen.prompts[both], change)[numbers > 0] / numbers[numbers > 0]


def _counted(seen: Seen, totals: Int[np.ndarray, "classes"]) -> Interval:
    """The interval (3) for counts of prompts."""
    more = totals + 0.5 + (np.arange(len(totals)) == totals.argmax())
    slope = np.log(more / more.mean()) / np.log(len(totals))
    width = float(np.ptp(slope))
    low, high = paired_difference(_by_prompt(seen, slope) / width)
    return Interval(width * low, width * high)  # (3)


def _widest(first: Interval, second: Interval) -> Interval:
    """An interval around both; what is nan counts for nothing."""
    return Interval(float(np.fmin(first.low, second.low)), float(np.fmax(first.high, second.high)))


def _moved(draws: np.ndarray, value: float) -> Interval:
    numbers = draws[np.isfinite(draws)]
    return middle(numbers - 2 * (numbers.mean() - value)) if len(numbers) else middle(draws)  # (2)


def _counts(seen: Seen) -> tuple[int, int, int]:
    return int((seen.after >= 0).sum()), len(seen.after), len(np.unique(seen.prompts))
