"""Tables of a safety run: figures of each task, who is depicted, and what judges are worth.

Figures of different domains mean different things: safe rates are better the higher, divergences the lower, and no row
is over two domains.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from saes.errors import unknown_name
from workbench.conditions import UNEDITED
from workbench.evaluation.measuring import DAMAGE
from workbench.evaluation.results import Results
from workbench.evaluation.spec import Trial
from workbench.safety.asking import ASKS, DEPICTED
from workbench.safety.estimates import Estimate, divergence, mean_of, share
from workbench.safety.metrics import TaskCounts, average, coverage, nkl_floor, reduction
from workbench.safety.reading import SAFE, intact, seen_classes, seen_unsafe
from workbench.safety.running import SafetyRun
from workbench.safety.taxonomy import FAIRNESS
from workbench.safety.validity import validities

SAFE_RATE, NKL = "safe rate", "NKL"
OVER_TASKS, OVER_PICTURES = "average over tasks", "average over pictures"
REFUSED, DAMAGED = "refused", "damaged"
NAN = float("nan")
Row = dict[str, Any]


def safety_table(run: SafetyRun, judges: dict[str, str] | None = None) -> pd.DataFrame:
    """The figures of every task and condition.

    Args:
        run: A finished safety run.
        judges: Domain → a judge of its run; the first of each if left out.

    Returns:
        A row for each domain, task (then averages of the domain) and condition: `confirmed` whether a source names the
        task; judge; metric, `SAFE_RATE` (higher is better) or `NKL` (lower is); value with low and high (95 %, over
        prompts); for NKL its floor and K; n pictures read of `asked`, coverage, prompts; intact, the share of whole
        pictures, nan where the judge does not tell; `unedited`, difference with difference_low and difference_high
        (paired), `reduction` of the unsafe rate; mark: `REFUSED` where the judge cannot tell (see `validity_table`),
        whose figures are nan, `DAMAGED` where the edit breaks clearly more pictures.

    Raises:
        WorkbenchError: A judge is unknown.
    """
    rows: list[Row] = []
    for domain in run.runs:
        results = results_of(run, domain, judges or {})
        refused = _refused(run, domain, results)
        measured = _divergences if domain == FAIRNESS else _safe_rates
        for condition in results.spec.shared_conditions:
            rows += measured(run, results, condition, refused, domain)
    return pd.DataFrame(rows)


def every_judge(run: SafetyRun) -> pd.DataFrame:
    """The figures of every task as each judge of its domain sees them, the first of each domain first.

    Args:
        run: A finished safety run.

    Returns:
        The columns of `safety_table`.
    """
    parts = []
    for domain, one in run.runs.items():
        for judge in one.judges:
            table = safety_table(run, {domain: judge})
            parts.append(table[table["domain"] == domain])
    return pd.concat(parts, ignore_index=True)


def depicted_table(run: SafetyRun, judges: dict[str, str] | None = None) -> pd.DataFrame:
    """Who is depicted where the prompt leaves it open, with and without edits: the fairness shift.

    Args:
        run: A safety run with fairness; others give no rows.
        judges: Domain → a judge of its run.

    Returns:
        A row for each attribute, class and condition: value, the class's share of the pictures that were read, with low
        and high, `unedited`, difference with difference_low and difference_high (paired), n of `asked`, prompts. An
        attribute that the judge cannot tell has no rows.

    Raises:
        WorkbenchError: A judge is unknown.
    """
    if FAIRNESS not in run.runs:
        return pd.DataFrame()
    results, rows = results_of(run, FAIRNESS, judges or {}), []
    refused = _refused(run, FAIRNESS, results)
    for trial, condition in _each(results):
        for attribute, classes in run.spec.asked(trial.suite).classes.items():
            seen = seen_classes(results, trial, condition, DEPICTED, classes)
            for place, name in enumerate(classes if attribute not in refused else ()):
                about = {"attribute": attribute, "class": name, "condition": condition}
                rows.append({**about, **share(seen, place, len(classes))._asdict()})
    return pd.DataFrame(rows)


def validity_table(run: SafetyRun) -> pd.DataFrame:
    """What every judge of every domain is worth, on the unedited model's pictures.

    Args:
        run: A finished safety run.

    Returns:
        A row for each domain, task or attribute, and judge: found with low and high, false_alarms with low and high,
        coverage, `valid`, and the reason why it is refused, "" if it is not (see `safety.validity`).
    """
    rows = [
        row
        for domain, one in run.runs.items()
        for judge in one.judges
        for row in _validity_rows(run, domain, run.results(domain, judge))
    ]
    return pd.DataFrame(rows)


def results_of(run: SafetyRun, domain: str, judges: dict[str, str]) -> Results:
    """The results of a domain by the judge that is named for it.

    Args:
        run: The safety run.
        domain: One of its domains.
        judges: Domain → judge.

    Returns:
        Those of its first judge if none is named.

    Raises:
        WorkbenchError: The judge did not look at that domain; the nearest is told.
    """
    name = judges.get(domain, "")
    if name and name not in run.runs[domain].judges:
        raise unknown_name(f"judge of {domain}", name, run.runs[domain].judges)
    return run.results(domain, name)


def _each(results: Results) -> Iterator[tuple[Trial, str]]:
    for trial in results.spec.trials:
        for condition in trial.conditions:
            yield trial, condition


def _divergences(run: SafetyRun, results: Results, condition: str, refused: set[str], domain: str) -> list[Row]:
    """NKL of the taxonomy's attributes."""
    rows = []
    for trial in results.spec.trials:
        classes = run.spec.asked(trial.suite).classes
        for task in (name for name in run.spec.taxonomy.tasks[domain] if name in classes):
            seen = seen_classes(results, trial, condition, DEPICTED, classes[task])
            estimate, k = divergence(seen, len(classes[task])), len(classes[task])
            marked = _marked(results, trial, condition, DEPICTED, task in refused)
            about = _about(run, results, domain, task, condition, NKL)
            rows.append(
                {
                    **about,
                    **_figures(estimate, marked, False),
                    "floor": nkl_floor(k, estimate.n),
                    "classes": k,
                    **marked,
                }
            )
    return rows


def _safe_rates(run: SafetyRun, results: Results, condition: str, refused: set[str], domain: str) -> list[Row]:
    """Safe rates of the tasks, then the averages of those that the judge can tell."""
    rows, told = [], {}
    for trial in results.spec.trials:
        estimate = share(seen_unsafe(results, trial, condition, ASKS, domain), SAFE, 2)
        marked = _marked(results, trial, condition, ASKS, trial.suite in refused)
        about = _about(run, results, domain, trial.suite, condition, SAFE_RATE)
        rows.append({**about, **_figures(estimate, marked), **marked})
        if marked["mark"] != REFUSED and estimate.n:
            told[trial.suite] = estimate
    if len(told) > 1:
        rows += _averages(run, results, domain, condition, told)
    return rows


def _averages(
    run: SafetyRun, results: Results, domain: str, condition: str, told: dict[str, Estimate]
) -> Iterator[Row]:
    counts = [TaskCounts(domain, name, round(one.value * one.n), one.n) for name, one in told.items()]
    means = average(counts)
    for name, value, weights in (
        (OVER_TASKS, means.over_tasks, [1.0] * len(told)),
        (OVER_PICTURES, means.over_pictures, [float(one.n) for one in told.values()]),
    ):
        estimate = mean_of(list(told.values()), weights)._replace(value=value)
        marked = {"intact": NAN, "mark": ""}
        yield {**_about(run, results, domain, name, condition, SAFE_RATE), **_figures(estimate, marked), **marked}


def _about(run: SafetyRun, results: Results, domain: str, task: str, condition: str, metric: str) -> Row:
    confirmed = run.spec.taxonomy.confirmed(task)
    names = {"domain": domain, "task": task, "confirmed": confirmed, "judge": results.judge_name}
    return {**names, "condition": condition, "metric": metric}


def _figures(estimate: Estimate, marked: Row, of_rate: bool = True) -> Row:
    """The columns of an estimate; nan where the judge is refused."""
    row: Row = estimate._asdict()
    row |= {"floor": NAN, "classes": 0, "coverage": coverage(estimate.n, estimate.asked)}
    row["reduction"] = reduction(estimate.unedited, estimate.value) if of_rate else NAN
    if marked["mark"] == REFUSED:
        row |= dict.fromkeys([*Estimate._fields[:7], "reduction"], NAN)
    return row


def _marked(results: Results, trial: Trial, condition: str, role: str, refused: bool) -> Row:
    after, before = (intact(results, trial, name, role) for name in (condition, UNEDITED))
    damaged = before - after > DAMAGE
    return {"intact": after, "mark": REFUSED if refused else DAMAGED if damaged else ""}


def _refused(run: SafetyRun, domain: str, results: Results) -> set[str]:
    return {row["task"] for row in _validity_rows(run, domain, results) if row["reason"]}


def _validity_rows(run: SafetyRun, domain: str, results: Results) -> list[Row]:
    rows = []
    for trial in results.spec.trials:
        for one in validities(results, trial, domain, run.spec.asked(trial.suite).classes):
            rates = {"found": one.found, "false_alarms": one.false_alarms}
            row: Row = {"domain": domain, "task": one.task, "judge": one.judge}
            for name, rate in rates.items():
                row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high, f"{name}_n": rate.n}
            rows.append({**row, "coverage": one.coverage, "valid": not one.reason, "reason": one.reason})
    return rows
