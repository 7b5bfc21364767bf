"""Several kinds of model in one report: what each family of methods erases and costs in each, where a concept lives.

Each run stays what it is, a comparison on one model, filed under it. Here they are only read, and only where they asked
for the same: concepts, prompts with their roles, as many seeds for each, as many fits, one judge. What a method does in
one model is never computed from another's pictures; intervals are each run's own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import plotly.graph_objects as go

from saes.errors import WorkbenchError
from workbench.conditions import UNEDITED, is_method
from workbench.erasure import METHODS, find_method
from workbench.evaluation.results import Results
from workbench.evaluation.roles import heading, in_order
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import RunSpec, Trial
from workbench.evaluation.tables import metrics_with_all
from workbench.figures.comparison import method_intervals
from workbench.figures.inside import change_by_layer
from workbench.figures.studies import trace_map
from workbench.reports.attacking import without_attacks
from workbench.reports.costs import costs
from workbench.reports.evidence import Evidence, read_evidence
from workbench.reports.pages import write_page
from workbench.studies.traced import TraceResult

Part: TypeAlias = go.Figure | pd.DataFrame | str
SAME = "Compare with the same concepts, --per-role, --seed, --fit-seeds and --judge."
READING = (
    "Rates are shares of a model's own pictures, with 95 % intervals of its own run: two models are told apart where "
    "intervals do not overlap. The unedited model's rates stand beside them, for what a model does not draw no method "
    "can take from it: such rates are void (–)."
)


def across(runs: Sequence[Run | Results], *, judge: str = "") -> pd.DataFrame:
    """The metrics of comparisons on several models, one under the other.

    Args:
        runs: Finished comparisons, each on another model, that asked for the same.
        judge: A name of each run's judges; the first if left out.

    Returns:
        The columns of `metrics_with_all` after model, kind, and family, that of the method ("" for none).

    Raises:
        WorkbenchError: There is one run, two are of one model, or their concepts, prompts, numbers of seeds or fits, or
            judges differ.
    """
    results = [without_attacks(Results.of(run, judge)) for run in runs]
    _check_alike(results)
    parts = []
    for name, one in _named(results).items():
        table, families = metrics_with_all(one), _families(one.spec)
        table.insert(0, "model", name)
        table.insert(1, "kind", one.spec.model.kind)
        table.insert(2, "family", [families.get(condition, "") for condition in table["condition"]])
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def report_across(
    runs: Sequence[Run | Results],
    path: Path | str,
    *,
    judge: str = "",
    traces: Sequence[TraceResult] = (),
) -> Path:
    """Writes the report of comparisons on several models. The page opens offline.

    Args:
        runs: As for `across`.
        path: The HTML file.
        judge: A name of each run's judges; the first if left out.
        traces: Causal traces in these models, to say where the concept lives.

    Returns:
        The path.

    Raises:
        WorkbenchError: As `across`, or a trace is of none of these models.
    """
    table = across(runs, judge=judge)
    results = _named([without_attacks(Results.of(run, judge)) for run in runs])
    _check_traces(traces, results)
    parts: dict[str, Part] = {
        "The models": _models(results),
        "How to read it": READING,
        "What each method does in each model": _intervals(table),
        "Family by family": _by_family(table),
        "What each method costs": _costs(results),
        **dict(_inside(results)),
        **dict(_traced(traces)),
    }
    return write_page(path, f"The same question to {' and '.join(results)}", parts)


def _check_alike(results: Sequence[Results]) -> None:
    if len(results) < 2:
        raise WorkbenchError("There is one run, and nothing beside it.", "Name two or more.")
    for i, one in enumerate(results):
        for other in results[:i]:
            if one.spec.model.identity == other.spec.model.identity:
                raise WorkbenchError(
                    f"{other.run.dir} and {one.run.dir} are both of {one.spec.model.name}.",
                    "Compare methods on one model in one run.",
                )
    for first, second in pairwise(results):
        if what := _difference(first, second):
            raise WorkbenchError(f"{first.run.dir} and {second.run.dir} do not ask the same: {what}.", SAME)


def _difference(first: Results, second: Results) -> str:
    """In what two runs differ that has to be the same, "" for nothing."""
    if first.judge != second.judge:
        return f"one has the judge {first.judge.name} {first.judge.version}, the other {second.judge.name} " + (
            f"{second.judge.version}" if first.judge.version != second.judge.version else "with other thresholds"
        )
    own, others = ({(one.suite, one.concept): one for one in each.spec.trials} for each in (first, second))
    if lacking := own.keys() ^ others.keys():
        return f"only one has the concept {min(lacking)[1]!r}"
    for key, trial in own.items():
        asked, also = _asked(trial), _asked(others[key])
        if asked.keys() != also.keys():
            prompt, role, _ = min(asked.keys() ^ also.keys())
            return f"only one has the {role} prompt {prompt!r}"
        if asked != also:
            prompt = next(row[0] for row, n in asked.items() if n != also[row])
            return f"they have other numbers of seeds for {prompt!r}"
        if trial.anchor != others[key].anchor:
            return f"{trial.concept!r} has the anchor {trial.anchor!r} in one and {others[key].anchor!r} in the other"
    fits = [{len(refits) + 1 for one in each.spec.trials for refits in one.refits.values()} for each in (first, second)]
    return "they have other numbers of fits" if all(fits) and fits[0] != fits[1] else ""


def _asked(trial: Trial) -> Counter[tuple[str, str, str]]:
    """How many pictures of each prompt are asked of every condition."""
    return Counter((row.prompt, row.role, row.expected) for row in trial.rows if not row.condition)


def _named(results: Sequence[Results]) -> dict[str, Results]:
    """The runs by their models; models of one name have the beginning of their fingerprint too."""
    names = [one.spec.model.name for one in results]
    return {
        name if names.count(name) == 1 else f"{name} ({one.spec.model.identity.hash[:8]})": one
        for name, one in zip(names, results, strict=True)
    }


def _families(spec: RunSpec) -> dict[str, str]:
    """The family of the method of each condition, where it is one of the table."""
    return {
        name: str(getattr(find_method(edit.method), "family", ""))
        for trial in spec.trials
        for name, edit in trial.conditions.items()
        if edit is not None and edit.method in METHODS and is_method(name)
    }


def _models(results: dict[str, Results]) -> pd.DataFrame:
    rows = []
    for name, one in results.items():
        spec, methods = one.spec, [c for trial in one.spec.trials for c in trial.conditions if is_method(c)]
        concepts = dict.fromkeys(trial.concept for trial in spec.trials)
        rows.append({
            "model": name, "kind": spec.model.kind, "weights": spec.model.fingerprint[:12],
            "concepts": ", ".join(concepts), "methods": len(dict.fromkeys(methods)),
            "pictures": len(spec.cells()), "judge": f"{one.judge.name} {one.judge.version}",
            "sampling": ", ".join(f"{key}={value}" for key, value in spec.settings.items()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _intervals(table: pd.DataFrame) -> go.Figure:
    """A row for each method and model, over all concepts; a method that both have stands beside itself."""
    own = _whole(table)
    order = {name: place for place, name in enumerate(dict.fromkeys(own["condition"]))}
    own = own.assign(
        place=own["condition"].map(order), condition=own["condition"] + ", " + own["model"], plain=own["condition"]
    ).sort_values("place", kind="stable")
    return method_intervals(own, {row.condition for row in own.itertuples() if not is_method(row.plain)})


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The rows over all concepts; those of the only one where there is one."""
    return table[table["concept"] == table["concept"].iloc[0]]


def _by_family(table: pd.DataFrame) -> pd.DataFrame:
    own = _whole(table)
    kept = own[own["family"].ne("") | own["condition"].eq(UNEDITED)]
    kept = kept.assign(shown=[_cell(row) for row in kept.itertuples()])
    wide = kept.pivot(index=["family", "condition", "model"], columns="metric", values="shown").fillna("–")
    metrics = in_order(kept["metric"])
    return wide[metrics].rename(columns={name: heading(name) for name in metrics}).reset_index().rename_axis(columns="")


def _cell(row: Any) -> str:
    if pd.isna(row.value):
        return f"– {row.mark}".rstrip()
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}] {row.mark}".rstrip()


def _costs(results: dict[str, Results]) -> pd.DataFrame:
    rows = [{"model": name, **cost._asdict()} for name, one in results.items() for cost in costs(one)]
    return pd.DataFrame(rows).drop(columns=["fits", "chosen_on", "length"])


def _inside(results: dict[str, Results]) -> Iterator[tuple[str, Part]]:
    """How far the edits move each site, where that was looked at: `workbench compare` does for the first concept."""
    for name, one in results.items():
        change = (read_evidence(one.run.dir) or Evidence()).tables.get("change")
        if change is not None and len(change):
            of_one = change[change["concept"] == change["concept"].iloc[0]]
            by_edit = {str(condition): own for condition, own in of_one.groupby("condition", sort=False)}
            controls_first = dict(sorted(by_edit.items(), key=lambda pair: is_method(pair[0])))
            yield f"What edits of {of_one['concept'].iloc[0]} move inside {name}", change_by_layer(controls_first)


def _check_traces(traces: Sequence[TraceResult], results: dict[str, Results]) -> None:
    known = {one.spec.model.fingerprint for one in results.values()}
    for trace in traces:
        if trace.asked["fingerprint"] not in known:
            raise WorkbenchError(
                f"{trace.dir} is a trace in {trace.asked['model']}, with weights of none of these runs.",
                "Trace in the models that are compared.",
            )


def _traced(traces: Sequence[TraceResult]) -> Iterator[tuple[str, Part]]:
    """Where a word is decided in each model, as its trace found it, and the same map of the trace's control."""
    for trace in traces:
        about = f"{trace.asked['concept']} in {trace.asked['model']}"
        yield f"Where the word {about} counts", trace.sentence
        for axis, own in (("token", trace.table["step"].isna()), ("step", trace.table["step"].notna())):
            if own.any():
                table = trace.table[own]
                yield f"Trace of {about}, by {axis}", trace_map(table, axis)
                control = table.assign(restored=table["control"], low=table["control_low"], high=table["control_high"])
                yield f"Control of {about}, by {axis}", trace_map(control, axis)
