"""What a run with several methods says of them side by side: in words, as a table of orders, as figures."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from workbench.evaluation.roles import heading, in_order
from workbench.reports.reading import listed, percent, signed, words

TOLD = ("anchor_shown", "told_specificity")
SEVERAL = "Several concepts in one edit, "


class OrderRow(NamedTuple):
    """How much more of each metric one order keeps than the other, in points, with intervals; "" is not measured."""

    concept: str
    there: str
    back: str
    cells: list[tuple[str, str, bool]]  # difference, interval, whether it is beyond chance


def ranking(table: pd.DataFrame, best: pd.DataFrame) -> list[str]:
    """What can be said of methods side by side.

    Args:
        table: `metrics_with_all(run)`; of several concepts, the rows of the first, which is all of them, count.
        best: `best_methods(run)`.

    Returns:
        A sentence for each metric on which methods differ, one for those on which none do; edits of several concepts
        have sentences of their own.
    """
    first = table[table["concept"] == table["concept"].iloc[0]]
    joined = best.merge(first[["concept", "condition", "metric", "value"]], on=["concept", "condition", "metric"])
    return [sentence for several, own in joined.groupby("several") for sentence in _ranking(own, SEVERAL * several)]


def _ranking(own: pd.DataFrame, prefix: str) -> Iterator[str]:
    if own["condition"].nunique() < 2:
        return
    equal = []
    for metric in _compared(own):
        rows = own[own["metric"] == metric].sort_values("gap")
        if len(rows) > 1 and rows["among_best"].all():
            equal.append(f"{words(metric)} ({_range(rows['value'])})")
        elif len(rows) > 1:
            yield _sentence(prefix + words(metric), rows)
    if equal:
        yield _started(f"{prefix}no method can be told from the best in {listed(equal)}.")


def _range(values: pd.Series) -> str:
    least, most = percent(values.min()), percent(values.max())
    return most if least == most else f"{least} to {most}"


def _started(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _sentence(about: str, rows: pd.DataFrame) -> str:
    best = [f"{row.condition} ({percent(row.value)})" for row in rows[rows["among_best"]].itertuples()]
    behind = [
        f"{row.condition} ({percent(row.value)}, by {100 * row.gap_low:.0f} to {100 * row.gap_high:.0f} points)"
        for row in rows[~rows["among_best"]].itertuples()
    ]
    are = "is" if len(best) == 1 else "are"
    left = "is" if len(behind) == 1 else "are"
    return _started(f"{about}: {listed(best)} {are} best; {listed(behind)} {left} behind.")


def order_rows(effects: pd.DataFrame) -> list[OrderRow]:
    """What the order of erasure changes, as the page prints it.

    Args:
        effects: `order_effects(run)`.

    Returns:
        A row for each concept and pair of orders, with a cell for each of `order_headings`.
    """
    shown, rows = _compared(effects), []
    for (concept, there, back), own in effects.groupby(["concept", "there", "back"], sort=False):
        by_metric = {row.metric: row for row in own.itertuples()}
        rows.append(OrderRow(concept, there, back, [_order_cell(by_metric.get(metric)) for metric in shown]))
    return rows


def order_headings(effects: pd.DataFrame) -> list[str]:
    """The headings of the metrics of which an effect is known.

    Args:
        effects: `order_effects(run)`.

    Returns:
        In the order of the cells of `order_rows`.
    """
    return [heading(metric) for metric in _compared(effects)]


class PublishedRow(NamedTuple):
    """A published order and what the run says of it."""

    claim: str
    published: str
    source: str
    values: str
    difference: str
    interval: str
    verdict: str


def published_rows(table: pd.DataFrame) -> list[PublishedRow]:
    """What a run says of published orders, as the page prints it.

    Args:
        table: `check_published(run)`.

    Returns:
        A row for each.
    """
    return [
        PublishedRow(
            f"{row.better} above {row.than} in {heading(row.metric)}", row.published, row.source,
            " and ".join("–" if pd.isna(one) else percent(one) for one in (row.better_value, row.than_value)),
            "–" if pd.isna(row.difference) else points(row.difference),
            "" if pd.isna(row.difference) else f"{points(row.low)} to {points(row.high)}",
            row.verdict,
        )
        for row in table.itertuples()
    ]  # fmt: skip


def _compared(table: pd.DataFrame) -> list[str]:
    """The metrics of a table of which more is better: not what shows that the anchor or what was told is kept."""
    return [metric for metric in in_order(table["metric"]) if not metric.endswith("drift") and metric not in TOLD]


def _order_cell(row: tuple | None) -> tuple[str, str, bool]:
    if row is None:
        return "–", "", False
    difference, low, high = (getattr(row, name) for name in ("difference", "low", "high"))
    return points(difference), f"{points(low)} to {points(high)}", low > 0 or high < 0


def points(difference: float) -> str:
    """A difference in points, with a sign where it is not 0.

    Args:
        difference: Of shares, in [−1, 1].

    Returns:
        Whole points; "0" below half a point.
    """
    return signed(difference) if abs(difference) >= 0.005 else "0"
