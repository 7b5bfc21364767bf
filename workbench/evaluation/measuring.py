"""The figures of one condition from its records and those of the unedited model, row by row of one prompt and seed.

Three marks keep a number from being read for what it is not. "void": the unedited model shows the concept in half of
the images or fewer, so its absence proves nothing. "damaged": the edit breaks clearly more pictures than the unedited
model does, so an absent concept may be an absent picture. "n/a": the judge does not say what the metric needs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from probes.statistics import bootstrap_means, harmonic_mean, middle_95, sign_flip_test, wilson
from workbench.evaluation.roles import Role

GATE = 0.5  # the unedited model must show a concept in more than this share
DAMAGE = 0.10  # additional share of broken pictures that marks an edit
VOID, DAMAGED, NOT_SAID = "void", "damaged", "n/a"
_INTERVALS = ("value", "low", "high", "unedited", "difference", "difference_low", "difference_high", "p_value")
Figure = dict[str, Any]  # the columns of `metrics`; `draws` and `paired`; for rates also `hits` and `clusters`


def measured(after: pd.DataFrame, before: pd.DataFrame, rates: Mapping[str, tuple[Role, ...]]) -> dict[str, Figure]:
    """All metrics of one condition.

    Args:
        after: Records of the condition, with the column `share` of `Results.pair`.
        before: Records of the unedited model, in the same order of prompts and seeds.
        rates: The rates and the roles that count in them; the places of the rates are the seeds of their bootstraps, so
            that conditions of the same prompts meet the same draws.

    Returns:
        metric → figure: value with low and high (95 %), `unedited`, difference with its interval, p_value, n, prompts,
        mark; where the metric is neither void nor n/a also `draws`, the bootstraps of the condition and of the unedited
        model, and `paired`, a bootstrap of the condition in which all conditions of the suite meet the same draws; for
        rates `hits`, image by image, and `clusters`, their prompts. First the rates that have rows, then harmonic_mean,
        intact and, over rows that want a concept present, pixel_drift and feature_drift.
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
    of one fit, nor fits of one concept. The test is about these fits: it flips prompts."""
    if rows.empty:
        return _nothing(rows, VOID)
    now, then, known = after.to_numpy(bool), before.to_numpy(bool), clusters(rows)
    draws, draws_then = (known.draws(of.astype(float), seed) for of in (now, then))
    n_prompts = int(known.prompts.max()) + 1
    by_count, by_draws = wilson(round(float(now.mean()) * n_prompts), n_prompts), middle_95(draws)
    return {
        "value": float(now.mean()), "low": min(by_count.low, by_draws.low),
        "high": max(by_count.high, by_draws.high), **_change(now, then, draws, draws_then),
        "p_value": sign_flip_test(then, now, known.prompts), **_counts(rows), "mark": "",
        "draws": (draws, draws_then), "paired": known.paired(now.astype(float), seed), "hits": now,
        "clusters": known.prompts,
    }  # fmt: skip


class Clusters(NamedTuple):
    """The number of each image's prompt, of the fit that made it, of the share to which its prompt belongs, and of its
    concept, from 0. One prompt, fit or share of two concepts is two.

    Where a condition has several fits, images of one fit are not independent. A condition with one fit has no such
    level, but is compared with others over the same shares as theirs, so that both meet the same draws; that makes it
    seem no surer than it is.
    """

    prompts: Int[np.ndarray, "n"]
    fits: Int[np.ndarray, "n"]
    shares: Int[np.ndarray, "n"]
    concepts: Int[np.ndarray, "n"]

    def draws(self, values: Float[np.ndarray, "n"], seed: int = 0) -> Float[np.ndarray, "draws"]:
        """Means over resamplings of concepts, their fits, and the prompts of those."""
        return bootstrap_means(values, self.prompts, concepts=self.concepts, fits=self.fits, seed=seed)

    def paired(self, values: Float[np.ndarray, "n"], seed: int = 0) -> Float[np.ndarray, "draws"]:
        """The same over shares in the place of fits: for differences from conditions with more or fewer fits."""
        return bootstrap_means(values, self.prompts, concepts=self.concepts, fits=self.shares, seed=seed)


def clusters(rows: pd.DataFrame) -> Clusters:
    """The clusters of a condition's records, which have the column `share`."""
    concepts = _within(pd.factorize(rows["suite"])[0], rows["concept"])
    prompts, fits, shares = (_within(concepts, rows[column]) for column in ("prompt", "edit", "share"))
    return Clusters(prompts, fits, shares, concepts)


def _within(owners: Int[np.ndarray, "n"], names: pd.Series) -> Int[np.ndarray, "n"]:
    """Numbers what has equal owners and names, from 0."""
    codes = pd.factorize(names)[0]
    return pd.factorize(owners * (codes.max() + 1) + codes)[0]


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
    known = clusters(after)
    draws = known.draws(values)
    low, high = middle_95(draws)
    mean = float(values.mean())
    return {
        "value": mean, "low": low, "high": high, "unedited": 0.0, "difference": mean, "difference_low": low,
        "difference_high": high, "p_value": np.nan, **_counts(after), "mark": "",
        "draws": (draws, np.zeros_like(draws)), "paired": known.paired(values),
    }  # fmt: skip


def _mean_of_metrics(parts: list[Figure]) -> Figure:
    """The harmonic mean of rates of different prompts, each resampled on its own. The interval holds also what it would
    be with one of the rates at an end of its own interval, as a bootstrap of rates that are all 1 knows no other."""
    counts = {name: sum(part[name] for part in parts) for name in ("n", "prompts")}
    counts["fits"] = max((part["fits"] for part in parts), default=0)
    if not parts or any(part["mark"] for part in parts):
        return {**dict.fromkeys(_INTERVALS, np.nan), **counts, "mark": VOID}
    value, unedited = (float(harmonic_mean([part[name] for part in parts])) for name in ("value", "unedited"))
    now, then = (harmonic_mean([part["draws"][side] for part in parts]) for side in (0, 1))
    interval, change = middle_95(now), middle_95(now - then)
    low, high = (
        [float(harmonic_mean([part[end if part is one else "value"] for part in parts])) for one in parts]
        for end in ("low", "high")
    )
    return {
        "value": value, "low": min(interval.low, *low), "high": max(interval.high, *high), "unedited": unedited,
        "difference": value - unedited, "difference_low": change.low, "difference_high": change.high,
        "p_value": np.nan, **counts, "mark": "", "draws": (now, then),
        "paired": harmonic_mean([part["paired"] for part in parts]),
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
    known = clusters(rows)
    return {"n": len(rows), "prompts": len(set(known.prompts)), "fits": len(set(known.fits))}


def _nothing(rows: pd.DataFrame, mark: str) -> Figure:
    return {**dict.fromkeys(_INTERVALS, np.nan), **_counts(rows), "mark": mark}


def _not_said(rows: pd.DataFrame) -> Figure:
    return _nothing(rows, NOT_SAID)
