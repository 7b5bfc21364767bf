"""The figures that protocols define, over what is read of pictures.

acc_τ(c) is the mean of what is read of the pictures of concept c (1: it is seen) while target τ of T is erased:
    (1)  UA  = (1/T) Σ_τ [1 − acc_τ(τ)]
    (2)  IRA = (1/T) Σ_τ mean of acc_τ(c) over the other c of τ's domain
    (3)  CRA = (1/T) Σ_τ mean of acc_τ(c) over the c of other domains, in pictures that ask for τ too
    (4)  H   = k / Σ 1/xᵢ, 0 if any xᵢ is 0     of {1 − acc_e, acc_s} and, with synonyms, 1 − acc_g
    (5)  H_a = CLIP_s − CLIP_e
(1) to (3) are UnlearnCanvas's (arXiv:2402.11846), (4) and (5) MACE's (arXiv:2403.06135). The class of plain pictures
enters neither (2) nor (3). Intervals are of 95 %: that of a mean is the wider of a bootstrap, which gives all targets
the same draws, and Wilson's interval for clusters. Of a combination it is what the ends of its parts give together,
which is wide.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from probes.agreement import clustered_wilson
from probes.statistics import harmonic_mean, middle_95, resamplings
from workbench.evaluation.measuring import GATE, VOID

TARGET, SYNONYM, NEAR, IMPLIED = "target", "synonym", "neighbour", "implied"
SAME, CROSS, PLAIN = "same_domain", "cross_domain", "plain"
ALL, FOUND = "all of ", "found in "  # and a role: its pictures with those in which nothing of the domain is found
LANGUAGE = "in "  # and the language: the role of prompts in another one


class Part(NamedTuple):
    """A mean over the pictures of a role; `gone` counts what is not seen. `gated` ones are void where the unedited
    model shows the concept in half of the pictures or fewer. `rate` is False of what is no share."""

    name: str
    role: str
    gone: bool = False
    gated: bool = True
    rate: bool = True


class Combination(NamedTuple):
    """A figure from parts that are there: `make` of their values, which grows with each but the `falling` ones."""

    name: str
    parts: tuple[str, ...]
    make: Callable[[Sequence[float]], float]
    falling: tuple[str, ...] = ()


class Figures(NamedTuple):
    """What a protocol measures."""

    parts: tuple[Part, ...]
    combined: tuple[Combination, ...] = ()


class Value(NamedTuple):
    """A figure with its 95 % interval, on n pictures of `prompts` prompts; `mark` says why there is none."""

    value: float
    low: float
    high: float
    n: int
    prompts: int
    mark: str = ""


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _difference(values: Sequence[float]) -> float:
    return values[1] - values[0]  # (5)


def _harmonic(values: Sequence[float]) -> float:
    return float(harmonic_mean(values))  # (4)


_E, _S, _G = Part("1 − acc_e", TARGET, gone=True), Part("acc_s", SAME), Part("1 − acc_g", SYNONYM, gone=True)
_DETECTED = tuple(Part(name, role, gated=False) for name, role in (("found", TARGET), ("found unasked", IMPLIED)))
FIGURES = {
    "unlearncanvas": Figures(
        (Part("UA", TARGET, gone=True), Part("IRA", SAME), Part("CRA", CROSS), Part("plain", PLAIN)),
        (Combination("mean", ("UA", "IRA", "CRA"), _mean),),
    ),
    "harmonic": Figures((_E, _S, _G), (Combination("H", ("1 − acc_e", "acc_s", "1 − acc_g"), _harmonic),)),
    "faces": Figures(
        (
            _E,
            _S,
            Part("acc_e of all", ALL + TARGET, gated=False),
            Part("acc_s of all", ALL + SAME, gated=False),
            Part("found_e", FOUND + TARGET, gated=False),
            Part("found_s", FOUND + SAME, gated=False),
        ),
        (Combination("H", ("1 − acc_e", "acc_s"), _harmonic),),
    ),
    "clip": Figures(
        (Part("CLIP_e", TARGET, gated=False, rate=False), Part("CLIP_s", SAME, gated=False, rate=False)),
        (Combination("H_a", ("CLIP_e", "CLIP_s"), _difference, falling=("CLIP_e",)),),
    ),
    "detected": Figures(_DETECTED),
    "erased": Figures((_E, _S)),
    "pinpoint": Figures((Part("target", TARGET, gated=False), Part("pinpoint-ness", NEAR), Part("far", SAME))),
}


def figures_of(name: str, after: Sequence[pd.DataFrame], before: Sequence[pd.DataFrame]) -> dict[str, Value]:
    """The figures of one condition.

    Args:
        name: Of `FIGURES`.
        after: A table for each target: role, concept, value (0 or 1, or a score), unit (what is resampled), prompt.
        before: The same pictures of the unedited model.

    Returns:
        Figure → value, of those for which there are pictures; of each other language what is left of the target there.
    """
    about, found, whole = FIGURES[name], dict[str, Value](), pd.concat([*after])
    spoken = [role for role in dict.fromkeys(whole["role"]) if role.startswith(LANGUAGE)]
    for part in (*about.parts, *(Part(f"target {role}", role) for role in spoken)):
        tables = [[own[own["role"] == part.role] for own in side] for side in (after, before)]
        if any(len(own) for own in tables[0]):
            found[part.name] = _value(part, *tables)
    for one in about.combined:
        own = {part: found[part] for part in one.parts if part in found}
        if len(own) > 1 and (len(own) == len(one.parts) or one.make is _harmonic):
            found[one.name] = _combined(one, own)
    return found


def macro(tables: Sequence[pd.DataFrame]) -> float:
    """The mean over targets of the mean over concepts of the mean over their pictures: (1/T) Σ_τ mean_c acc_τ(c).

    Args:
        tables: One for each target, with concept and value; targets without pictures do not count.

    Returns:
        nan without pictures.
    """
    means = [own.groupby("concept")["value"].mean().mean() for own in tables if len(own)]
    return float(np.mean(means)) if means else float("nan")


def _value(part: Part, after: Sequence[pd.DataFrame], before: Sequence[pd.DataFrame]) -> Value:
    whole = pd.concat([*after])
    n, prompts = len(whole), whole["prompt"].nunique()
    if part.gated and not macro(before) > GATE:
        return Value(float("nan"), float("nan"), float("nan"), n, prompts, VOID)
    value = macro(after)
    units, names = pd.factorize(whole["unit"])
    low, high = middle_95(_draws(after, units, len(names)))
    if part.rate:
        pooled = float(whole["value"].mean())
        wilson = clustered_wilson(whole["value"].to_numpy(bool), units)
        low, high = min(low, value + wilson.low - pooled), max(high, value + wilson.high - pooled)
        low, high = max(low, 0.0), min(high, 1.0)
    if part.gone:
        value, low, high = 1 - value, 1 - high, 1 - low
    return Value(value, float(low), float(high), n, prompts)


def _draws(tables: Sequence[pd.DataFrame], units: np.ndarray, many: int) -> np.ndarray:
    """`macro` over resamplings of units; a concept that a draw leaves out does not count in it."""
    times, means, place = resamplings(many), [], 0
    for own in tables:
        where, place = units[place : place + len(own)], place + len(own)
        classes = []
        for rows in own.reset_index(drop=True).groupby("concept").indices.values():
            of, values = where[rows], own["value"].to_numpy(float)[rows]
            counts = times @ np.bincount(of, minlength=many)
            classes.append(np.ma.array(times @ np.bincount(of, values, many), mask=counts == 0) / np.maximum(counts, 1))
        if classes:
            means.append(np.ma.mean(np.ma.stack(classes), axis=0))
    return np.ma.mean(np.ma.stack(means), axis=0).compressed()


def _combined(one: Combination, parts: dict[str, Value]) -> Value:
    n, prompts = sum(part.n for part in parts.values()), sum(part.prompts for part in parts.values())
    if mark := next((part.mark for part in parts.values() if part.mark), ""):
        return Value(float("nan"), float("nan"), float("nan"), n, prompts, mark)
    low, high = (
        one.make([(part.high if (name in one.falling) == at_low else part.low) for name, part in parts.items()])
        for at_low in (True, False)
    )
    return Value(one.make([part.value for part in parts.values()]), low, high, n, prompts)
