"""Figures that set methods side by side. Their input is the rows of one concept (or "all") of the table of metrics."""

from collections.abc import Collection
from itertools import cycle

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.conditions import AT
from workbench.evaluation.roles import heading, in_order
from workbench.figures.template import COLOURS, QUIET, RULE, SYMBOLS, TEMPLATE, faded

_NO_PANEL = ("intact", "pixel_drift", "feature_drift")
_KEPT = {"neighbour_specificity": "near concepts kept", "unrelated_specificity": "far concepts kept"}
LEGEND_ROW = 36  # pixels
_SHARE = {"range": [-0.04, 1.04], "tickvals": [0, 0.5, 1], "ticktext": ["0", "50", "100"]}


def method_intervals(metrics: pd.DataFrame, quiet: Collection[str] = ()) -> go.Figure:
    """A panel for each rate, a row for each condition: the value with its interval.

    Args:
        metrics: Rows of one concept, or of all: columns condition, metric, value, low, high, shares in [0, 1]. Those
            without a value have no marker.
        quiet: Conditions that are grey and hollow: the unedited model, controls.

    Returns:
        The figure.
    """
    panels = [name for name in in_order(metrics["metric"]) if name not in _NO_PANEL]
    conditions = list(dict.fromkeys(metrics["condition"]))
    colours = _colours(conditions, quiet)
    plot = make_subplots(
        1, len(panels), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=[heading(name) for name in panels]
    )
    for column, panel in enumerate(panels, start=1):
        own = metrics[(metrics["metric"] == panel) & metrics["value"].notna()]
        for row in own.itertuples():
            plot.add_trace(_interval(row, colours[row.condition], row.condition in quiet), row=1, col=column)
    plot.update_xaxes(**_SHARE, showgrid=True).update_xaxes(title_text="% of images", title_font_size=12)
    plot.update_yaxes(categoryorder="array", categoryarray=conditions[::-1], showgrid=True, gridcolor="#f3f5f6")
    plot.update_yaxes(showline=False, ticks="", ticklabelstandoff=6).update_annotations(
        font={"size": 12.5, "color": QUIET}
    )
    height = 110 + 24 * len(conditions)
    return plot.update_layout(template=TEMPLATE, height=height, showlegend=False, margin={"t": 28, "l": 8, "r": 28})


def method_scatter(metrics: pd.DataFrame, quiet: Collection[str] = ()) -> go.Figure:
    """Efficacy against specificity, a marker for each condition; near and far concepts in panels of their own.

    Conditions that are called "METHOD @ STRENGTH" are one method: its markers are joined to a curve, in the order of
    the conditions, and carry their strengths. Markers are outlines, so that methods in one place stay visible. Up and
    right is better.

    Args:
        metrics: Rows of one concept, or of all: columns condition, metric, value, low, high, shares in [0, 1].
        quiet: Conditions that are grey: the unedited model, controls.

    Returns:
        The figure.
    """
    panels = [name for name in _KEPT if name in set(metrics["metric"])]
    plot = make_subplots(1, max(len(panels), 1), shared_yaxes=True, horizontal_spacing=0.04)
    points = metrics.pivot_table(index="condition", columns="metric", values=["value", "low", "high"], sort=False)
    series: dict[str, list[str]] = {}
    for name in points.index:
        series.setdefault(name.partition(AT)[0], []).append(name)
    colours = _colours(list(series), quiet)
    for column, panel in enumerate(panels, start=1):
        needed = [(part, name) for part in ("value", "low", "high") for name in ("efficacy", panel)]
        known = points[needed].dropna() if set(needed) <= set(points.columns) else points.iloc[:0]
        for place, (method, names) in enumerate(series.items()):
            own = known.loc[[name for name in names if name in known.index]]
            if len(own):
                symbol = SYMBOLS[place % len(SYMBOLS)] + "-open"
                plot.add_trace(_curve(own, method, panel, colours[method], symbol, column == 1), row=1, col=column)
        plot.update_xaxes(title_text=f"specificity: {_KEPT[panel]}", row=1, col=column)
    share = {"range": [-0.06, 1.06], "tickformat": ".0%", "dtick": 0.25}
    plot.update_xaxes(**share).update_yaxes(**share)
    plot.update_yaxes(title_text="efficacy: images without the target", row=1, col=1)
    height = max(400, 60 + LEGEND_ROW * len(series))
    return plot.update_layout(template=TEMPLATE, height=height, legend={"y": 1, "x": 1.02}, margin={"t": 12})


def _colours(conditions: list[str], quiet: Collection[str]) -> dict[str, str]:
    """The palette goes to the methods."""
    loud = dict(zip((name for name in conditions if name not in quiet), cycle(COLOURS), strict=False))
    return {name: loud.get(name, QUIET) for name in conditions}


def _interval(row: tuple, colour: str, hollow: bool) -> go.Scatter:
    value, low, high, name = (getattr(row, part) for part in ("value", "low", "high", "condition"))
    return go.Scatter(
        x=[value], y=[name], mode="markers", name=name,
        error_x={
            "type": "data", "array": [high - value], "arrayminus": [value - low], "thickness": 1.5, "width": 0,
            "color": RULE if hollow else faded(colour, 0.55),
        },
        marker={
            "symbol": "circle-open" if hollow else "circle", "color": colour, "size": 7 if hollow else 9,
            "line": {"width": 1.5, "color": colour},
        },
        hovertemplate=f"{name}: %{{x:.1%}} ({low:.1%} to {high:.1%})<extra></extra>",
    )  # fmt: skip


def _curve(own: pd.DataFrame, method: str, panel: str, colour: str, symbol: str, first: bool) -> go.Scatter:
    """The conditions of one method: a marker, or several and a line through them."""

    def bar(metric: str) -> dict:
        value, low, high = (own[part, metric] for part in ("value", "low", "high"))
        return {
            "type": "data", "array": high - value, "arrayminus": value - low, "thickness": 1, "width": 0,
            "color": faded(colour, 0.35),
        }  # fmt: skip

    return go.Scatter(
        x=own["value", panel], y=own["value", "efficacy"], mode="lines+markers+text" if len(own) > 1 else "markers",
        name=method, legendgroup=method, showlegend=first, error_x=bar(panel), error_y=bar("efficacy"),
        text=[name.partition(AT)[2] for name in own.index], textposition="bottom left",
        textfont={"size": 11, "color": colour}, line={"color": faded(colour, 0.6), "width": 1.5},
        marker={"symbol": symbol, "color": colour, "size": 12, "line": {"width": 2}}, customdata=list(own.index),
        hovertemplate="%{customdata}: efficacy %{y:.1%}, kept %{x:.1%}<extra></extra>",
    )  # fmt: skip
