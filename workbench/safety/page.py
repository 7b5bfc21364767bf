"""`safety.html`: one page that is sent to a colleague: domains side by side, before and after, and what it rests on.

The page loads nothing. Pictures that the judge calls unsafe, or could not read, are blurred until they are clicked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.conditions import UNEDITED
from workbench.evaluation.agreement import ANY, EDITED, agreements
from workbench.papers import Reference
from workbench.reports.references import MEASURES, references
from workbench.reports.report import write_report
from workbench.safety.limits import limits
from workbench.safety.pictures import sheets
from workbench.safety.published import COLUMNS, beside, caveats, read_published
from workbench.safety.running import SafetyRun
from workbench.safety.tables import NKL, REFUSED, depicted_table, every_judge, safety_table, validity_table

T2ISAFETY = Reference(
    title="T2ISafety: benchmark for assessing fairness, toxicity, and privacy in image generation",
    authors="L. Li, Z. Shi, X. Hu, B. Dong, Y. Qin, X. Liu, L. Sheng, J. Shao",
    year=2025,
    arxiv="2501.12612",
    venue="CVPR",
)
MOST_PLACES = 20  # of dropped prompts, on the page; safety.json has all


def write_safety(run: SafetyRun, path: Path | str, quality: pd.DataFrame | None = None) -> Path:
    """Writes the page of a finished safety run.

    Args:
        run: The run.
        path: The HTML file.
        quality: Its `quality_table`, if an encoder was at hand.

    Returns:
        The path.
    """
    table, depicted, judges = safety_table(run), depicted_table(run), validity_table(run)
    spec = next(iter(run.runs.values())).spec
    context = {
        "spec": spec, "n_images": sum(len(one.spec.cells()) for one in run.runs.values()), "run_dir": run.dir,
        "conditions": spec.shared_conditions, "changes": changes(table),
        "domains": [_domain(domain, rows) for domain, rows in table.groupby("domain", sort=False)],
        "depicted": [_attribute(name, rows) for name, rows in _groups(depicted, "attribute")],
        "quality": [] if quality is None else quality.to_dict("records"), "others": _others(run),
        "sheets": sheets(run), "judges": judges.to_dict("records"), "agreements": _agreements(run),
        "tasks": run.spec.tasks, "elsewhere": run.spec.elsewhere, "most_places": MOST_PLACES,
        "published": beside(run, table).to_dict("records"), "columns": COLUMNS, "caveats": caveats(run, table),
        "published_source": read_published().source, "limits": limits(run, table, judges),
        "references": _references(run), "asked": run.spec,
    }  # fmt: skip
    return write_report("safety.html", context, path, charts=False)


def changes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The figures that an edit moves beyond chance.

    Args:
        table: `safety_table`.

    Returns:
        Rows of the table whose difference has an interval without 0, with `better`, whether it is one for the better.
    """
    rows = table[(table["condition"] != UNEDITED) & (table["mark"] != REFUSED)].to_dict("records")
    moved = [row for row in rows if row["difference_low"] > 0 or row["difference_high"] < 0]
    return [{**row, "better": (row["difference"] > 0) != (row["metric"] == NKL)} for row in moved]


def _domain(domain: str, rows: pd.DataFrame) -> dict[str, Any]:
    """A card: a line for each task and condition."""
    tasks = [
        {"name": name, "confirmed": own["confirmed"].any(), "average": name.startswith("average"),
         "lines": own.to_dict("records")}
        for name, own in rows.groupby("task", sort=False)
    ]  # fmt: skip
    return {"name": domain, "metric": rows["metric"].iloc[0], "judge": rows["judge"].iloc[0], "tasks": tasks}


def _attribute(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """An attribute: a bar for each condition, cut by classes."""
    bars = [(condition, own.to_dict("records")) for condition, own in rows.groupby("condition", sort=False)]
    return {"name": name, "classes": list(dict.fromkeys(rows["class"])), "bars": bars}


def _groups(table: pd.DataFrame, column: str) -> Sequence[tuple[str, pd.DataFrame]]:
    return [(str(name), rows) for name, rows in table.groupby(column, sort=False)] if len(table) else []


def _others(run: SafetyRun) -> list[dict[str, Any]]:
    """The figures of domains that several judges saw, by all of them."""
    several = [domain for domain, one in run.runs.items() if len(one.judges) > 1]
    table = every_judge(run) if several else pd.DataFrame({"domain": []})
    return table[table["domain"].isin(several)].to_dict("records")


def _agreements(run: SafetyRun) -> list[dict[str, Any]]:
    """How far judges of one domain agree, where it has several."""
    rows = []
    for domain, one in run.runs.items():
        if len(one.judges) > 1:
            table = agreements(one)
            kept = table[(table["wanted"] == ANY) & (table["condition"] != EDITED)]  # the edits one by one
            rows += [{"domain": domain, **row} for row in kept.to_dict("records")]
    return rows


def _references(run: SafetyRun) -> list[Reference]:
    methods = dict.fromkeys(edit.method for one in run.runs.values() for edit in one.spec.edits)
    cited = references(methods, several=False, attention=False, autoencoders=False)
    return [T2ISAFETY, *(work for work in cited if work not in MEASURES), *MEASURES[:2]]
