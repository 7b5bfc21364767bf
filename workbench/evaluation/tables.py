"""Tables of a run: metrics with intervals, shares of verdicts, and the concept × concept matrix.

Suite and concept together are the key of a trial in every table: a run may ask several suites about one concept.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.conditions import is_method
from workbench.evaluation.judges import VERDICTS
from workbench.evaluation.measuring import Figure, measured, shown_rate
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import RunSpec, Trial, title

AS_PROMPTED = "as prompted"
ALL = "all"  # in the place of a suite and a concept: all of them together
_CHOICES = ("chosen_on", "length", "length_low", "length_high", "stopped", "unmet")
_OF_FIT = ("value", "n", "prompts")
_INNER = ("draws", "paired", "hits", "clusters")  # of a figure, for paired comparisons


def metrics(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """The metrics of each suite and condition.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition and metric. Columns beside these: value with low and high (95 %);
        `unedited`, the same metric of the unedited model; difference from it with difference_low and difference_high
        (paired bootstrap over prompts, over the fits that made them and over concepts, where there are several);
        p_value (sign-flip test over prompts, rates only); n images of `prompts` prompts by `fits` fits; mark ("",
        "void", "damaged", "n/a": see `evaluation.measuring`). Rates are in [0, 1]. The drifts are over prompts that
        want a concept present; 0 is the unedited image.
    """
    results = Results.of(run, judge)
    return pd.DataFrame(
        [
            {"suite": trial.suite, "concept": trial.concept, "condition": condition, **row}
            for trial in results.spec.trials
            for condition in trial.conditions
            for row in _rows(results.measured(trial, condition))
        ]
    )


def pooled_metrics(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """The metrics over the images of all suites together.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        The columns of `metrics`, with suite and concept "all". Only conditions that every suite has are there; where a
        metric is void for a suite, its images are left out.
    """
    results = Results.of(run, judge)
    return pd.DataFrame(
        [
            {"suite": ALL, "concept": ALL, "condition": condition, **row}
            for condition in results.spec.shared_conditions
            for row in _rows(results.pooled(condition))
        ]
    )


def metrics_with_all(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """The metrics of each suite, after those of all together where there are several."""
    results = Results.of(run, judge)
    table = metrics(results)
    return table if len(results.spec.trials) < 2 else pd.concat([pooled_metrics(results), table], ignore_index=True)


def fit_rates(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What the fits of a condition do, each by itself, where it has several.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition, rate and fit: its `seed`, the value over its share of the prompts, and
        n images of `prompts` prompts. Shares differ in their prompts, so fits differ by chance too; the intervals of
        `metrics` have both.
    """
    results = Results.of(run, judge)
    rows = [
        {"suite": trial.suite, "concept": trial.concept, "condition": condition, **row}
        for trial in results.spec.trials
        for condition in trial.refits
        for row in _fit_rows(results, trial, condition)
    ]
    return pd.DataFrame(rows, columns=["suite", "concept", "condition", "metric", "seed", *_OF_FIT])


def choices(run: Run | Results) -> pd.DataFrame:
    """What was chosen for each method, and on what.

    Args:
        run: A run, or its results.

    Returns:
        A row for each suite, concept (first "all", where there are several) and method: `chosen_on`, on what its
        settings were chosen, "" if nobody said so; and where a rule chose how long its fits were trained, `length`, the
        median share of the full one, with length_low and length_high, the shortest and the longest (NaN elsewhere), and
        in how many fits it was `stopped` so, and in how many of them not even the full length was enough (`unmet`).
    """
    spec = run.spec
    rows = [
        {"suite": ALL, "concept": ALL, "condition": name, **_chosen(spec, name, [one.concept for one in spec.trials])}
        for name in filter(is_method, spec.shared_conditions if len(spec.trials) > 1 else ())
    ]
    rows += [
        {"suite": one.suite, "concept": one.concept, "condition": name, **_chosen(spec, name, [one.concept])}
        for one in spec.trials
        for name in filter(is_method, one.conditions)
    ]
    return pd.DataFrame(rows, columns=["suite", "concept", "condition", *_CHOICES])


def verdict_shares(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What the images show.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition, role and verdict, with share in [0, 1], count and n. Where a prompt
        wants a concept present, an image of it counts as "as prompted", whatever its verdict.
    """
    results = Results.of(run, judge)
    spared = [name for name, role in results.roles.items() if role.wanted == "present"]
    as_prompted = results.records["shown"] & results.records["role"].isin(spared)
    records = results.records.assign(verdict=results.records["verdict"].mask(as_prompted, AS_PROMPTED))
    keys = ["suite", "concept", "condition", "role"]
    counts = records.groupby([*keys, "verdict"], sort=False).size().unstack("verdict", fill_value=0)
    counts = counts.reindex(columns=[*VERDICTS, AS_PROMPTED], fill_value=0)
    table = counts.stack().rename("count").reset_index()
    table["n"] = table.groupby(keys)["count"].transform("sum")
    return table.assign(share=table["count"] / table["n"])


def concept_matrix(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What erasing each concept does to every concept that some prompt names.

    Args:
        run: A finished run, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each condition, suite, erased concept, and named `concept`: `rate`, the share of images prompted with
        `concept` that show it, with low and high (95 %); `unedited`, that rate without the edit on the same prompts and
        seeds; difference with difference_low and difference_high; n; mark as in `metrics`. Prompts that only imply a
        concept are left out.
    """
    table = pd.DataFrame(list(_matrix_rows(Results.of(run, judge))))
    return table.rename(columns={"value": "rate"})


def titled(table: pd.DataFrame) -> pd.DataFrame:
    """A table for people: where several suites are about one concept, it is called “concept (suite)”.

    Args:
        table: Any of the tables above; one without a column `suite` is handed back as it is.

    Returns:
        The same rows, in which the column `erased` or else `concept` names the suites apart.
    """
    if "suite" not in table or table.empty:
        return table
    column = "erased" if "erased" in table else "concept"
    several = table.groupby(column)["suite"].transform("nunique") > 1
    names = [title(*one) for one in zip(table["suite"], table[column], several, strict=True)]
    return table.assign(**{column: names})


def _rows(figures: dict[str, Figure]) -> Iterator[Figure]:
    """The figures of a condition as rows of a table."""
    for metric, figure in figures.items():
        yield {"metric": metric, **_outer(figure)}


def _outer(figure: Figure) -> Figure:
    return {name: value for name, value in figure.items() if name not in _INNER}


def _chosen(spec: RunSpec, name: str, concepts: Sequence[str]) -> dict[str, Any]:
    by_concept = spec.lengths.get(name, {})
    known = [one for concept in dict.fromkeys(concepts) for one in by_concept.get(concept, ())]
    shares = [one.share for one in known] or [float("nan")]
    unmet = sum(not one.met for one in known)
    middle = float(np.median(shares))
    return dict(
        zip(_CHOICES, (spec.chosen_on.get(name, ""), middle, min(shares), max(shares), len(known), unmet), strict=True)
    )


def _fit_rows(results: Results, trial: Trial, condition: str) -> Iterator[Figure]:
    after, before = results.pair(trial, condition)
    by_fit = {
        fit.seed: measured(after[after["edit"] == fit.hash], before[after["edit"] == fit.hash], results.rates)
        for fit in trial.fits(condition)
    }
    for metric in results.rates:
        for seed, figures in by_fit.items():
            if metric in figures:
                yield {"metric": metric, "seed": seed, **{name: figures[metric][name] for name in _OF_FIT}}


def _matrix_rows(results: Results) -> Iterator[Figure]:
    order = list(results.rates)
    for trial in results.spec.trials:
        for condition in trial.conditions:
            after, before = results.pair(trial, condition)
            named = after["role"].map(lambda role: results.roles[role].named) & (after["expected"] != "")
            for concept in dict.fromkeys(after.loc[named, "expected"]):
                own = (named & (after["expected"] == concept)).to_numpy()
                seed = order.index(results.roles[after.loc[own, "role"].iloc[0]].metric)
                about = {"condition": condition, "suite": trial.suite, "erased": trial.concept, "concept": concept}
                yield {**about, **_outer(shown_rate(after[own], before[own], absent=False, seed=seed))}
