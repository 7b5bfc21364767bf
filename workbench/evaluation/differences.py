"""Differences between the conditions of one run, paired by prompt: which methods are best, and does an order matter.

θ_a is a metric of condition a, oriented so that more is better, θ*_a one of its bootstrap draws. All conditions meet
the same prompts in a draw, in the same shares where some have several fits, so what makes a prompt easy for all of them
cancels.
    (1)  gap_a = max_b θ_b − θ_a,   its interval from the draws θ*_best − θ*_a
    (2)  a is among the best unless  gap_a > c_a,   c_a = 95 % quantile of  max_b [(θ*_b − θ_b) − (θ*_a − θ_a)]
(2) is subset selection (Gupta 1965): the set of all a that it leaves holds the truly best method with 95 % confidence,
however many are compared; that is so for one metric of one concept, not for all rows of a table at once. To mark the
largest number alone would call chance a finding. The bootstrap does not know that 50 of 50 is not certainty, so a rate
also stays among the best while the sign-flip test over prompts (one-sided, 5 %) sees no difference from the best.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from probes.statistics import middle_95, sign_flip_test
from workbench.conditions import is_method
from workbench.evaluation.measuring import Figure
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec, RunSpec
from workbench.evaluation.tables import ALL

LESS_IS_BETTER = ("pixel_drift", "feature_drift")
LEVEL, ROUNDING = 0.05, 1e-9
Measured = Mapping[str, Figure]  # of one condition, by metric
_ORDERS = ["suite", "concept", "there", "back", "metric", "difference", "low", "high"]
_BEST = ["suite", "concept", "metric", "several", "condition", "gap", "gap_low", "gap_high", "among_best"]


def best_methods(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """How far each method is behind the best of its metric.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite and concept (first "all", where there are several), method and metric: `gap` ≥ 0 with
        gap_low and gap_high (95 %, paired), and whether the method is `among_best` (2). The interval of a gap takes the
        best as known beforehand, so it is no test: that is what `among_best` is for. Void metrics and damaged
        conditions do not compete, nor do controls; edits of `several` concepts compete among themselves.
    """
    results, rows = Results.of(run, judge), []
    for about, conditions in _by_suite(results):
        for metric in dict.fromkeys(metric for table in conditions.values() for metric in table):
            for several, group in enumerate(_rivals(results.spec, list(conditions))):
                own = {name: conditions[name][metric] for name in group if metric in conditions[name]}
                own = {name: row for name, row in own.items() if row["mark"] == ""}
                rows += [{**about, "metric": metric, "several": bool(several), **row} for row in gaps(own, metric)]
    return pd.DataFrame(rows, columns=_BEST)


def order_effects(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What it changes to erase the same concepts in another order.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, metric, and pair of conditions `there` and `back`: their difference with low and
        high (95 %, paired over prompts; each row by itself, so of 20 rows without any effect one is expected to
        exclude 0). Empty for a run without such conditions.
    """
    results, rows = Results.of(run, judge), []
    for about, conditions in _by_suite(results):
        for there, back in _orders(results.spec):
            for metric, first in conditions.get(there, {}).items():
                second = conditions.get(back, {}).get(metric, {})
                if "paired" in first and "paired" in second:
                    low, high = middle_95(first["paired"] - second["paired"])
                    change = {"difference": first["value"] - second["value"], "low": low, "high": high}
                    rows.append({**about, "there": there, "back": back, "metric": metric, **change})
    return pd.DataFrame(rows, columns=_ORDERS)


def among_best(values: Float[np.ndarray, "methods"], draws: Float[np.ndarray, "methods draws"]) -> list[bool]:
    """Which methods cannot be told from the best; more is better, and column i of `draws` is one resampling. (2)"""
    noise = draws - values[:, None]
    found = []
    for own in range(len(values)):
        others = np.arange(len(values)) != own
        if not others.any():
            found.append(True)
            continue
        reach = np.quantile((noise[others] - noise[own]).max(axis=0), 1 - LEVEL)
        found.append(bool(values[others].max() - values[own] <= reach + ROUNDING))  # (2)
    return found


def gaps(figures: Mapping[str, Figure], metric: str) -> Iterator[dict[str, Any]]:
    """How far each of some conditions is behind the best of them.

    Args:
        figures: Condition → its figure of the metric, of the same prompts. Those with a mark do not compete.
        metric: Which one, as more of it may be better or worse.

    Returns:
        A row for each that competes: condition, gap with gap_low and gap_high, among_best, as `best_methods` has them.
    """
    rows = {name: row for name, row in figures.items() if row["mark"] == ""}
    if not rows:
        return
    sign = -1 if metric in LESS_IS_BETTER else 1
    values = sign * np.array([row["value"] for row in rows.values()])
    draws = sign * np.array([row["paired"] for row in rows.values()])
    best, among = int(values.argmax()), among_best(values, draws)
    leader = list(rows.values())[best]
    for place, (name, row) in enumerate(rows.items()):
        low, high = middle_95(draws[best] - draws[place])
        gap = float(values[best] - values[place])  # (1)
        yield {
            "condition": name,
            "gap": gap,
            "gap_low": low,
            "gap_high": high,
            "among_best": among[place] or _alike(leader, row),
        }


def _alike(best: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether the prompts on which two rates differ could be split so by chance; False for what is no rate."""
    if "hits" not in row:
        return False
    return sign_flip_test(best["hits"], row["hits"], row["clusters"]) > 2 * LEVEL  # two-sided, a one-sided question


def _by_suite(results: Results) -> Iterator[tuple[dict[str, str], dict[str, Measured]]]:
    """The figures of the methods, over all suites and for each; first how rows of tables name it."""
    trials = results.spec.trials
    if len(trials) > 1:
        shared = [name for name in results.spec.shared_conditions if is_method(name)]
        yield {"suite": ALL, "concept": ALL}, {name: results.pooled(name) for name in shared}
    for trial in trials:
        methods = [name for name in trial.conditions if is_method(name)]
        about = {"suite": trial.suite, "concept": trial.concept}
        yield about, {name: results.measured(trial, name) for name in methods}


def _rivals(spec: RunSpec, names: Sequence[str]) -> list[list[str]]:
    """Conditions that do the same task: erase one concept, or erase several."""
    several = [name for name in names if any(len(edit.concepts) > 1 for edit in _edits(spec, name))]
    return [[name for name in names if name not in several], several]


def _orders(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Pairs of conditions that compose the same concepts in different orders, by one method."""
    for there, back in combinations(filter(is_method, spec.shared_conditions), 2):
        edits = [*_edits(spec, there), *_edits(spec, back)]
        alike = {(edit.kind, *sorted(edit.concepts)) for edit in edits}
        if len(alike) == 1 and edits[0].kind == "composed" and there.partition(": ")[0] == back.partition(": ")[0]:
            yield there, back


def _edits(spec: RunSpec, name: str) -> list[EditSpec]:
    return [edit for trial in spec.trials if (edit := trial.conditions.get(name))]
