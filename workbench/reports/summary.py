"""The summary table of a report: a row for each concept and condition, a column for each metric."""

from typing import NamedTuple

import pandas as pd

from workbench.conditions import is_method
from workbench.evaluation.roles import heading, in_order
from workbench.reports.reading import signed

_KEYS = ["concept", "condition", "metric"]
_CHANGES = ("neighbour_specificity", "unrelated_specificity", "intact")


class CellText(NamedTuple):
    """One number as it is printed. `change` is in points from the unedited model (None in columns that tell none),
    `loss` whether it is a loss beyond chance, `best` whether it cannot be told from the best of the methods."""

    value: str
    interval: str = ""
    change: str | None = None
    loss: bool = False
    best: bool = False


class SummaryRow(NamedTuple):
    """The cells of one condition; `first` opens a concept's group of `size` rows, `method` is False for controls."""

    concept: str
    condition: str
    cells: list[CellText | None]
    n: int
    damaged: bool
    first: bool
    size: int
    method: bool


def headings(table: pd.DataFrame) -> list[str]:
    """The headings of the metrics that a table holds.

    Args:
        table: `metrics(run)`.

    Returns:
        In the order of the cells of `summary_rows`.
    """
    return [heading(metric) for metric in in_order(table["metric"])]


def summary_rows(table: pd.DataFrame, best: pd.DataFrame) -> list[SummaryRow]:
    """The rows of the summary table, as the page prints them.

    Args:
        table: `metrics(run)`, whose order they have.
        best: `best_methods(run)`, or empty to mark none.

    Returns:
        A row for each concept and condition.
    """
    winners = set() if best.empty else set(best[best["among_best"]][_KEYS].itertuples(index=False, name=None))
    rows, columns = [], in_order(table["metric"])
    for concept, group in table.groupby("concept", sort=False):
        parts = list(group.groupby("condition", sort=False))
        for place, (condition, own) in enumerate(parts):
            marks = {metric: (concept, condition, metric) in winners for metric in columns}
            by_metric = {row.metric: _cell(row, marks[row.metric]) for row in own.itertuples()}
            cells = [by_metric.get(metric) for metric in columns]
            n, damaged = int(own["n"].max()), bool((own["mark"] == "damaged").any())
            group_of = (place == 0, len(parts), is_method(str(condition)))
            rows.append(SummaryRow(str(concept), str(condition), cells, n, damaged, *group_of))
    return rows


def _cell(row: tuple, best: bool) -> CellText:
    metric, value, low, high = (getattr(row, name) for name in ("metric", "value", "low", "high"))
    if pd.isna(value):
        return CellText(row.mark)  # type: ignore[attr-defined]
    if metric.endswith("drift"):
        return CellText(f"{value:.3f}", f"{low:.3f}–{high:.3f}", best=best) if high else CellText("0", best=best)
    rate = CellText(f"{100 * value:.1f}", f"{100 * low:.0f}–{100 * high:.0f}", best=best)
    if metric not in _CHANGES:
        return rate
    change, highest = (getattr(row, name) for name in ("difference", "difference_high"))
    return rate._replace(change=signed(change) if abs(change) >= 0.005 else "", loss=highest < 0)
