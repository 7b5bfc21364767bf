"""`trace_report`: a causal trace as one HTML file, its heat maps beside those of the control."""

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from workbench.figures.studies import trace_map
from workbench.reports.references import STUDIES
from workbench.reports.report import chart, write_report
from workbench.studies.traced import TraceResult

PARTS = {"token": "In the text", "step": "In the picture"}
OF_A_LINE = {"token": "By layer and position"}


def trace_report(result: TraceResult, path: Path | str) -> Path:
    """Writes the report of a trace. The page loads nothing.

    Args:
        result: The trace.
        path: The HTML file.

    Returns:
        The path.
    """
    context = {
        "asked": result.asked, "sentence": result.sentence, "references": STUDIES,
        "rows": [_row(row) for row in result.table.itertuples()], "charts": _charts(result),
        "drawn": _drawn(result.drawn) if len(result.drawn) else None, "counts": _counts(result.drawn),
    }  # fmt: skip
    return write_report("trace.html", context, path)


def _charts(result: TraceResult) -> dict[str, tuple[Markup, Markup]]:
    """For text and picture, what is there of them: the map of the trace and that of its control."""
    table, headings = result.table, OF_A_LINE if result.asked["kind"] == "janus" else PARTS
    control = table.assign(restored=table["control"], low=table["control_low"], high=table["control_high"])
    in_text = table["step"].isna()
    found = {}
    for across, own in (("token", in_text), ("step", ~in_text)):
        if own.any():
            pair = [chart(f"{across}-{name}", trace_map(part[own], across)) for name, part in
                    (("trace", table), ("control", control))]  # fmt: skip
            found[headings[across]] = (pair[0], pair[1])
    return found


def _drawn(table: pd.DataFrame) -> tuple[Markup, Markup]:
    """How many more pictures show the concept than without a patch: the map of the trace and that of its control."""
    maps = []
    for name, columns in (("drawn", ("shown", "low", "high")), ("drawn-control", CONTROL)):
        more = {to: table[of] - table["corrupted"] for to, of in zip(SHOWN, columns, strict=True)}
        maps.append(chart(name, trace_map(table.assign(**more), "token", "share of pictures more")))
    return maps[0], maps[1]


SHOWN, CONTROL = ("restored", "low", "high"), ("control", "control_low", "control_high")


def _counts(table: pd.DataFrame) -> str:
    """For instance "92 % of the clean sentences' pictures show it, and 4 % of the corrupted ones'."; "" for none."""
    if not len(table):
        return ""
    clean, corrupted = (f"{100 * table[name].iloc[0]:.0f} %" for name in ("clean", "corrupted"))
    return f"{clean} of the clean sentences' pictures show it, and {corrupted} of the corrupted ones'."


def _row(row: Any) -> dict[str, str]:
    shown = {name: f"{round(getattr(row, name), 2) + 0.0:.2f}".replace("-", "−") for name in
             ("restored", "low", "high", "control", "control_low", "control_high")}  # fmt: skip
    return {
        "site": row.site, "place": row.token if pd.isna(row.step) else f"timestep {row.step:.0f}",
        "restored": shown["restored"], "interval": f"{shown['low']} to {shown['high']}",
        "control": shown["control"], "control_interval": f"{shown['control_low']} to {shown['control_high']}",
    }  # fmt: skip
