"""Tables of a run: metrics with intervals, shares of verdicts, and the concept × concept matrix.

Two marks keep a number from being read for what it is not. "void": the unedited model shows the concept in half of
the images or fewer, so its absence proves nothing. "damaged": the edit breaks clearly more pictures than the
unedited model does, so an absent concept may be an absent picture.
"""

import numpy as np
import pandas as pd

from probes.statistics import bootstrap_means, harmonic_mean, mcnemar, middle_95, wilson
from workbench.edits.conditions import UNEDITED
from workbench.evaluation.judges import VERDICTS
from workbench.evaluation.runs import Run, RunSpec, Trial
from workbench.evaluation.suites import ABOUT_OTHERS, ROLES

ERASED = {"efficacy": "target", "generality": "synonym", "implied_efficacy": "implied"}  # metric → role: want absence
KEPT = {"neighbour_specificity": "neighbour", "unrelated_specificity": "unrelated"}  # want presence
RATES = {**ERASED, **KEPT}
IN_THE_MEAN = ("efficacy", "generality", "neighbour_specificity", "unrelated_specificity")
METRICS = (*RATES, "harmonic_mean", "intact", "pixel_drift", "feature_drift")
AS_PROMPTED = "as prompted"
ALL = "all"  # in the place of a concept: all of them together
GATE = 0.5  # the unedited model must show a concept in more than this share
DAMAGE = 0.10  # additional share of broken pictures that marks an edit
_INTERVALS = ("value", "low", "high", "unedited", "difference", "difference_low", "difference_high", "p_value")


def metrics(run: Run) -> pd.DataFrame:
    """A row for each concept, condition and metric.

    Columns: concept, condition, metric; value with low and high (95 %); n images of `prompts` prompts; `unedited`, the
    same metric of the unedited model; difference from it with difference_low and difference_high (paired bootstrap
    over prompts); p_value (McNemar, rates only); mark ("", "void", "damaged"). The drifts are over prompts that do not
    name the target; 0 is the unedited image. The interval of a rate is the wider of Wilson's, which knows that 0 of
    50 is not 0, and the bootstrap's, which knows that images of one prompt are not independent.
    """
    records = run.records()
    rows = [
        row
        for trial in run.spec.trials
        for condition in trial.conditions
        for row in _condition_metrics(*paired(records, trial, condition))
    ]
    return pd.DataFrame(rows)


def pooled_metrics(run: Run) -> pd.DataFrame:
    """The metrics over the images of all concepts together, with the columns of `metrics` and the concept "all".

    Only for conditions that every trial has. Where a metric is void for a concept, its images are left out.
    """
    records = run.records()
    pairs = [pooled(records, run.spec, condition) for condition in shared_conditions(run.spec)]
    return pd.DataFrame([{**row, "concept": ALL} for pair in pairs for row in _condition_metrics(*pair)])


def metrics_with_all(run: Run) -> pd.DataFrame:
    """The metrics of each concept, after those of all together where there are several."""
    table = metrics(run)
    return table if len(run.spec.trials) < 2 else pd.concat([pooled_metrics(run), table], ignore_index=True)


def verdict_shares(run: Run) -> pd.DataFrame:
    """The share of each verdict. Columns: concept, condition, role, verdict, share in [0, 1], count, n.

    Where a prompt names another concept than the target, an image of it counts as "as prompted", whatever its verdict.
    """
    records = run.records()
    as_prompted = records["shown"] & records["role"].isin(ABOUT_OTHERS)
    records["verdict"] = records["verdict"].mask(as_prompted, AS_PROMPTED)
    keys = ["concept", "condition", "role"]
    counts = records.groupby([*keys, "verdict"], sort=False).size().unstack("verdict", fill_value=0)
    counts = counts.reindex(columns=[*VERDICTS, AS_PROMPTED], fill_value=0)
    table = counts.stack().rename("count").reset_index()
    table["n"] = table.groupby(keys)["count"].transform("sum")
    return table.assign(share=table["count"] / table["n"])


def concept_matrix(run: Run) -> pd.DataFrame:
    """What erasing each concept does to every concept that some prompt names.

    A row for each condition, erased concept, and named concept: `rate`, the share of images prompted with `concept`
    that show it, with low and high (95 %); `unedited`, that rate without the edit on the same prompts and seeds;
    difference with difference_low and difference_high; n; mark as in `metrics`. Prompts that only imply a concept are
    left out.
    """
    records = run.records()
    records = records[(records["role"] != "implied") & (records["expected"] != "")]
    rows = []
    for trial in run.spec.trials:
        for condition in trial.conditions:
            after, before = paired(records, trial, condition)
            for concept in dict.fromkeys(after["expected"]):
                own = (after["expected"] == concept).to_numpy()
                row = _rate(after[own], before[own], "shown", gate=True)
                rows.append({"condition": condition, "erased": trial.concept, "concept": concept, **row})
    return pd.DataFrame(rows).rename(columns={"value": "rate"})


def paired(records: pd.DataFrame, trial: Trial, condition: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The records of a condition and of the unedited model, row by row of one prompt and seed. Joined by id, not by
    the order in the file."""
    own = records[(records["concept"] == trial.concept) & (records["suite"] == trial.suite)]
    keys = ["role", "prompt", "seed"]
    after, before = (own[own["condition"] == name].set_index(keys) for name in (condition, UNEDITED))
    return after.reset_index(), before.loc[after.index].reset_index()


def pooled(records: pd.DataFrame, spec: RunSpec, condition: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs of all trials together, without those of metrics that are void for their concept."""
    pairs = [_without_void(*paired(records, trial, condition)) for trial in spec.trials]
    after, before = (pd.concat(parts, ignore_index=True) for parts in zip(*pairs, strict=True))
    return after, before


def shared_conditions(spec: RunSpec) -> list[str]:
    """The conditions that every trial has, in the order of the first."""
    return [name for name in spec.trials[0].conditions if all(name in trial.conditions for trial in spec.trials)]


def _without_void(after: pd.DataFrame, before: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pair without the roles whose concepts the unedited model does not show."""
    kept = (before.groupby("role")["shown"].transform("mean") > GATE).to_numpy()
    return after[kept], before[kept]


def _condition_metrics(after: pd.DataFrame, before: pd.DataFrame) -> list[dict]:
    first = after.iloc[0]
    return [
        {"concept": first["concept"], "condition": first["condition"], "metric": metric,
         **{name: value for name, value in row.items() if name not in ("draws", "hits")}}
        for metric, row in measured(after, before).items()
    ]  # fmt: skip


def measured(after: pd.DataFrame, before: pd.DataFrame) -> dict[str, dict]:
    """All metrics of one condition, in the order of `METRICS`: the columns of `metrics`, and with them `draws`, the
    bootstrap of the condition and of the unedited model, and for rates `hits`, image by image. Conditions of the same
    prompts meet the same draws. Void metrics have neither."""
    table: dict[str, dict] = {}
    for metric, role in RATES.items():
        own = ((after["role"] == role) & (after["expected"] != "")).to_numpy()
        if own.any():
            table[metric] = _rate(after[own], before[own], "shown", gate=True, absent=metric in ERASED)
    table["harmonic_mean"] = _mean_of_metrics({name: table[name] for name in IN_THE_MEAN if name in table})
    table["intact"] = _rate(after, before, "intact")
    others = after["role"].isin(ABOUT_OTHERS).to_numpy()
    if others.any():
        for drift in ("pixel_drift", "feature_drift"):
            table[drift] = _mean(after[others], drift)
        _mark_damage(table, after[others], before[others])
    _mark_damage(table, after, before)
    return table


def _rate(after: pd.DataFrame, before: pd.DataFrame, column: str, *, gate: bool = False, absent: bool = False) -> dict:
    """A share with everything known of it; `absent` counts the images without. `draws` holds its bootstrap."""
    now, then = (part[column].to_numpy(bool) for part in (after, before))
    if gate and then.mean() <= GATE:
        return {**_nothing(), "unedited": _share(then, absent), **_counts(after), "mark": "void"}
    now, then = now ^ absent, then ^ absent
    prompts = pd.factorize(after["prompt"])[0]
    seed = ROLES.index(after["role"].iloc[0])  # the harmonic mean needs roles that are resampled independently
    draws, draws_then = (bootstrap_means(of.astype(float), prompts, seed=seed) for of in (now, then))
    by_images, by_prompts = wilson(int(now.sum()), len(now)), middle_95(draws)
    change = middle_95(draws - draws_then)
    return {
        "value": float(now.mean()), "low": min(by_images.low, by_prompts.low),
        "high": max(by_images.high, by_prompts.high), "unedited": float(then.mean()),
        "difference": float(now.mean() - then.mean()), "difference_low": change.low, "difference_high": change.high,
        "p_value": mcnemar(then, now), **_counts(after), "mark": "", "draws": (draws, draws_then), "hits": now,
    }  # fmt: skip


def _share(flags: np.ndarray, absent: bool) -> float:
    return float((flags ^ absent).mean())


def _mean(after: pd.DataFrame, column: str) -> dict:
    """A mean distance from the unedited image, whose own distance is 0."""
    values = after[column].to_numpy(float)
    draws = bootstrap_means(values, pd.factorize(after["prompt"])[0])
    low, high = middle_95(draws)
    mean = float(values.mean())
    return {
        "value": mean, "low": low, "high": high, "unedited": 0.0, "difference": mean, "difference_low": low,
        "difference_high": high, "p_value": np.nan, **_counts(after), "mark": "",
        "draws": (draws, np.zeros_like(draws)),
    }  # fmt: skip


def _mean_of_metrics(parts: dict[str, dict]) -> dict:
    """The harmonic mean of rates of different prompts, each resampled on its own."""
    n = {name: sum(part[name] for part in parts.values()) for name in ("n", "prompts")}
    if not parts or any(part["mark"] == "void" for part in parts.values()):
        return {**_nothing(), **n, "mark": "void"}
    value, unedited = (harmonic_mean([part[name] for part in parts.values()]) for name in ("value", "unedited"))
    now, then = (
        np.array([harmonic_mean(draw) for draw in zip(*(part["draws"][side] for part in parts.values()), strict=True)])
        for side in (0, 1)
    )
    interval, change = middle_95(now), middle_95(now - then)
    return {
        "value": value, "low": interval.low, "high": interval.high, "unedited": unedited,
        "difference": value - unedited, "difference_low": change.low, "difference_high": change.high,
        "p_value": np.nan, **n, "mark": "", "draws": (now, then),
    }  # fmt: skip


def _mark_damage(table: dict[str, dict], after: pd.DataFrame, before: pd.DataFrame) -> None:
    if (~after["intact"]).mean() > (~before["intact"]).mean() + DAMAGE:
        for row in table.values():
            row["mark"] = row["mark"] or "damaged"


def _counts(after: pd.DataFrame) -> dict:
    return {"n": len(after), "prompts": after["prompt"].nunique()}


def _nothing() -> dict:
    return dict.fromkeys(_INTERVALS, np.nan)
