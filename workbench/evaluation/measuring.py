"""The figures of one condition from its records and those of the unedited model, row by row of one prompt and seed.

Three marks keep a number from being read for what it is not. "void": the unedited model shows the concept in half of
the images or fewer, so its absence proves nothing. "damaged": the edit breaks clearly more pictures than the unedited
model does, so an absent concept may be an absent picture. "n/a": the judge does not say what the metric needs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from probes.statistics import bootstrap_means, harmonic_mean, middle_95, sign_flip_test, wilson
from workbench.evaluation.roles import Role

GATE = 0.5  # the unedited model must show a concept in more than this share
DAMAGE = 0.10  # additional share of broken pictures that marks an edit
VOID, DAMAGED, NOT_SAID = "void", "damaged", "n/a"
_INTERVALS = ("value", "low", "high", "unedited", "difference", "difference_low", "difference_high", "p_value")
Figure = dict[str, Any]  # the columns of `metrics`; and `draws`, for rates also `hits` and `clusters`


def measured(after: pd.DataFrame, before: pd.DataFrame, rates: Mapping[str, tuple[Role, ...]]) -> dict[str, Figure]:
    """All metrics of one condition.

    Args:
        after: Records of the condition.
        before: Records of the unedited model, in the same order of prompts and seeds.
        rates: The rates and the roles that count in them; the places of the rates are the seeds of their bootstraps, so
            that conditions of the same prompts meet the same draws.

    Returns:
        metric → figure: value with low and high (95 %), `unedited`, difference with its interval, p_value, n, prompts,
        mark; where the metric is neither void nor n/a also `draws`, the bootstraps of the condition and of the unedited
        model, and for rates `hits`, image by image. First the rates that have rows, then harmonic_mean, intact and,
        over rows that want a concept present, pixel_drift and feature_drift.
    """
    table: dict[str, Figure] = {}
    for seed, (metric, roles) in enumerate(rates.items()):
        own = (after["role"].isin([role.name for role in roles]) & (after["expected"] != "")).to_numpy()
        if own.any():
            table[metric] = shown_rate(after[own], before[own], absent=roles[0].wanted == "absent", seed=seed)
    in_mean = [metric for metric, roles in rates.items() if metric in table and all(role.in_mean for role in roles)]
    table["harmonic_mean"] = _mean_of_metrics([table[metric] for metric in in_mean])
    after, before = (_of_the_edit(rows, rates) for rows in (after, before))
    table["intact"] = rate(after, after["intact"], before["intact"], seed=0) if _said(after) else _not_said(after)
    spared = [role.name for roles in rates.values() for role in roles if role.wanted == "present"]
    others = after["role"].isin(spared).to_numpy()
    if others.any():
        for drift in ("pixel_drift", "feature_drift"):
            table[drift] = _mean(after[others], drift)
        _mark_damage(table, after[others], before[others])
    _mark_damage(table, after, before)
    return table


def _of_the_edit(rows: pd.DataFrame, rates: Mapping[str, tuple[Role, ...]]) -> pd.DataFrame:
    """The records without those of attacks, if there are others: an attack may break what the edit leaves whole."""
    adversarial = [role.name for roles in rates.values() for role in roles if role.adversarial]
    usual = ~rows["role"].isin(adversarial)
    return rows[usual] if usual.any() else rows


def shown_rate(after: pd.DataFrame, before: pd.DataFrame, *, absent: bool, seed: int) -> Figure:
    """The share of images that show what their rows expect or, with `absent`, of intact images that do not; void below
    the gate. A judge that does not tell whole pictures from broken ones takes all for whole."""
    now, then = (gone(rows) if absent else rows["shown"].astype(bool) for rows in (after, before))
    if before["shown"].to_numpy(bool).mean() <= GATE:
        return {**_nothing(after, VOID), "unedited": float(then.mean())}
    return rate(after, now, then, seed=seed)


def gone(rows: pd.DataFrame) -> pd.Series:
    """Which images are whole and do not show what their rows expect: an absent picture is no absent concept."""
    absent = ~rows["shown"].astype(bool)
    return absent & rows["intact"].astype(bool) if _said(rows) else absent


def rate(rows: pd.DataFrame, after: pd.Series, before: pd.Series, *, seed: int) -> Figure:
    """A share with everything known of it. The interval is the wider of two: Wilson's, for as many trials as there are
    prompts, knows that 0 of 50 is not 0; the bootstrap's, that images of one prompt are not independent, nor prompts
    of one concept."""
    if rows.empty:
        return _nothing(rows, VOID)
    now, then = after.to_numpy(bool), before.to_numpy(bool)
    prompts, concepts = clusters(rows)
    draws, draws_then = (bootstrap_means(of.astype(float), prompts, concepts=concepts, seed=seed) for of in (now, then))
    n_prompts = int(prompts.max()) + 1
    by_count, by_draws = wilson(round(float(now.mean()) * n_prompts), n_prompts), middle_95(draws)
    return {
        "value": float(now.mean()), "low": min(by_count.low, by_draws.low),
        "high": max(by_count.high, by_draws.high), **_change(now, then, draws, draws_then),
        "p_value": sign_flip_test(then, now, prompts), **_counts(rows), "mark": "", "draws": (draws, draws_then),
        "hits": now, "clusters": prompts,
    }  # fmt: skip


def clusters(rows: pd.DataFrame) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """The number of each image's prompt and that of its concept, from 0. One prompt about two concepts is two."""
    concepts = pd.factorize(rows["suite"].astype(str) + "\n" + rows["concept"].astype(str))[0]
    return pd.factorize(pd.Series(list(zip(concepts, rows["prompt"], strict=True)), dtype=object))[0], concepts


def _change(
    now: Bool[np.ndarray, "n"], then: Bool[np.ndarray, "n"], draws: np.ndarray, draws_then: np.ndarray
) -> Figure:
    low, high = middle_95(draws - draws_then)
    difference = float(now.mean() - then.mean())
    return {"unedited": float(then.mean()), "difference": difference, "difference_low": low, "difference_high": high}


def _mean(after: pd.DataFrame, column: str) -> Figure:
    """A mean distance from the unedited image, whose own distance is 0."""
    values = after[column].to_numpy(float)
    if np.isnan(values).any():
        return _not_said(after)
    prompts, concepts = clusters(after)
    draws = bootstrap_means(values, prompts, concepts=concepts)
    low, high = middle_95(draws)
    mean = float(values.mean())
    return {
        "value": mean, "low": low, "high": high, "unedited": 0.0, "difference": mean, "difference_low": low,
        "difference_high": high, "p_value": np.nan, **_counts(after), "mark": "",
        "draws": (draws, np.zeros_like(draws)),
    }  # fmt: skip


def _mean_of_metrics(parts: list[Figure]) -> Figure:
    """The harmonic mean of rates of different prompts, each resampled on its own."""
    counts = {name: sum(part[name] for part in parts) for name in ("n", "prompts")}
    if not parts or any(part["mark"] for part in parts):
        return {**dict.fromkeys(_INTERVALS, np.nan), **counts, "mark": VOID}
    value, unedited = (float(harmonic_mean([part[name] for part in parts])) for name in ("value", "unedited"))
    now, then = (harmonic_mean([part["draws"][side] for part in parts]) for side in (0, 1))
    interval, change = middle_95(now), middle_95(now - then)
    return {
        "value": value, "low": interval.low, "high": interval.high, "unedited": unedited,
        "difference": value - unedited, "difference_low": change.low, "difference_high": change.high,
        "p_value": np.nan, **counts, "mark": "", "draws": (now, then),
    }  # fmt: skip


def _mark_damage(table: dict[str, Figure], after: pd.DataFrame, before: pd.DataFrame) -> None:
    if _said(after) and _broken(after) > _broken(before) + DAMAGE:
        for row in table.values():
            row["mark"] = row["mark"] or DAMAGED


def _broken(rows: pd.DataFrame) -> float:
    return float((~rows["intact"].to_numpy(bool)).mean())


def _said(rows: pd.DataFrame) -> bool:
    """Whether the judge tells whole pictures from broken ones."""
    return not rows["intact"].isna().any()


def _counts(rows: pd.DataFrame) -> Figure:
    return {"n": len(rows), "prompts": len(set(clusters(rows)[0]))}


def _nothing(rows: pd.DataFrame, mark: str) -> Figure:
    return {**dict.fromkeys(_INTERVALS, np.nan), **_counts(rows), "mark": mark}


def _not_said(rows: pd.DataFrame) -> Figure:
    return _nothing(rows, NOT_SAID)
