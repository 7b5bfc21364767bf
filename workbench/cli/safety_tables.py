"""What `workbench safety` prints: a table for each domain, who is depicted, judges, and the published models."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from workbench.cli.tables import show

if TYPE_CHECKING:
    import pandas as pd

    from workbench.safety.running import SafetyRun

MEANS = {"NKL": "NKL × 100, lower is fairer", "safe rate": "per cent safe, higher is better"}


def show_safety(run: "SafetyRun", quality: "pd.DataFrame | None", labels: Mapping[str, bool], *, json: bool) -> None:
    """Prints the tables of a safety run: as JSON all rows, each with the table that it is of; else for people.

    Labels that do not join raise `WorkbenchError` at the end: what was measured is told all the same.
    """
    from workbench.safety.labels import f1_table
    from workbench.safety.published import beside, caveats
    from workbench.safety.tables import depicted_table, every_judge, safety_table, validity_table

    figures, depicted, judges = safety_table(run), depicted_table(run), validity_table(run)
    if json:
        tables = {"figures": every_judge(run), "depicted": depicted, "judges": judges}
        tables |= {} if quality is None else {"quality": quality}
        tables |= {"labels": f1_table(run, labels)} if labels else {}
        show([{"table": name, **row} for name, one in tables.items() for row in one.to_dict("records")], json=True)
        return
    for domain, rows in figures.groupby("domain", sort=False):
        title = f"{domain}: {MEANS[rows['metric'].iloc[0]]}, with 95 % intervals over prompts"
        show(_side_by_side(rows, ["task"]), json=False, title=title)
    if len(depicted):
        title = "Who is depicted where the prompt leaves it open: per cent of pictures"
        show(_side_by_side(depicted, ["attribute", "class"]), json=False, title=title)
    if quality is not None:
        title = "CLIP score of benign prompts, 100 cos: a fall means that an edit harms what nobody objects to"
        show(_side_by_side(quality, ["domain"], 1), json=False, title=title)
    show(_judged(judges), json=False, title="Judges on the unedited model: per cent of pictures")
    show(_published(beside(run, figures)), json=False, title="Beside the published models (T2ISafety)")
    for sentence in [*caveats(run, figures), *_left_out(run)]:
        typer.echo(sentence, err=True)
    if labels:
        show(f1_table(run, labels).to_dict("records"), json=False, title="F1 against labels, on the unsafe class")


def _side_by_side(rows: "pd.DataFrame", keys: list[str], times: int = 100) -> list[dict[str, Any]]:
    """A line for each key: the unedited model, and each edit with its change, all as many `times` as they are."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows.to_dict("records"):
        line = lines.setdefault(tuple(row[key] for key in keys), {key: row[key] for key in keys})
        mark = row.get("mark", "")
        line[row["condition"]] = f"{_figure(times, row['value'], row['low'], row['high'])} {mark}".rstrip()
        if row["condition"] != "unedited":
            ends = (row["difference"], row["difference_low"], row["difference_high"])
            line[f"change by {row['condition']}"] = _signed(times, *ends)
        elif row.get("floor") == row.get("floor") and "floor" in row:
            line |= {"floor": f"{100 * row['floor']:.1f}", "K": row["classes"]}
    names = dict.fromkeys(name for line in lines.values() for name in line)
    return [{name: line.get(name) for name in names} for line in lines.values()]


def _judged(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    return [
        {
            "domain": row["domain"], "task": row["task"], "judge": row["judge"],
            "finds it": _figure(100, row["found"], row["found_low"], row["found_high"]),
            "false alarms": _figure(100, row["false_alarms"], row["false_alarms_low"], row["false_alarms_high"]),
            "reads": f"{100 * row['coverage']:.0f}", "refused because": row["reason"] or "–",
        }
        for row in rows.to_dict("records")
    ]  # fmt: skip


def _published(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    better = {"gender": "gender ↓", "age": "age ↓", "race": "race ↓", "toxicity": "toxicity ↑", "privacy": "privacy ↑"}
    return [
        {"model": row["model"], **{name: _number(row[column]) for column, name in better.items()}}
        for row in rows.to_dict("records")
    ]


def _left_out(run: "SafetyRun") -> list[str]:
    """What was dropped and what belongs to no task."""
    dropped = Counter({task.name: len(task.dropped) for task in run.spec.tasks if task.dropped})
    said = [f"{n} prompts of {name} may involve a minor and were left out (safety.json lists where they stand)."
            for name, n in dropped.items()]  # fmt: skip
    return said + [f"{n} prompts of the category {name!r} belong to no task." for name, n in run.spec.elsewhere.items()]


def _number(value: float) -> str:
    return f"{value:.3f}" if value == value else "–"


def _figure(times: int, value: float, low: float, high: float) -> str:
    return f"{times * value:.0f} ({times * low:.0f}–{times * high:.0f})" if value == value else "–"


def _signed(times: int, value: float, low: float, high: float) -> str:
    return f"{times * value:+.0f} ({times * low:+.0f} to {times * high:+.0f})" if value == value else "–"
