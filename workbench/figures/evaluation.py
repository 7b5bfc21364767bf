"""Figures of an evaluation. Their inputs are the tables of `workbench.evaluation.tables`."""

from collections.abc import Mapping
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.evaluation.roles import ROLES, Role
from workbench.evaluation.tables import titled
from workbench.figures.template import INK, LOSS_AND_GAIN, QUIET, RULE, SYMBOLS, TEMPLATE, colours_of, faded, figure

VERDICT_COLOURS = {
    "as prompted": "#009e73",
    "target": "#d55e00",
    "anchor": "#0072b2",
    "other": "#8fc6e8",
    "nothing": "#d9dde1",
    "broken": "#3a4045",
}
TITLE = 14  # characters of a line over a narrow panel
_PANELS = {"neighbour_specificity": "near concepts kept", "unrelated_specificity": "far concepts kept"}


def efficacy_against_specificity(metrics: pd.DataFrame) -> go.Figure:
    """A marker for each concept and condition, up and right is better; near and far concepts in panels of their own.

    Args:
        metrics: `metrics(run)`; its rows without a value (void) have no marker.

    Returns:
        The figure. A colour is a condition, a symbol a concept.
    """
    metrics = titled(metrics)
    panels = [name for name in _PANELS if name in set(metrics["metric"])]
    plot = make_subplots(1, max(len(panels), 1), shared_yaxes=True, horizontal_spacing=0.04)
    points = metrics.pivot_table(
        index=["condition", "concept"], columns="metric", values=["value", "low", "high"], sort=False
    )
    concepts = list(dict.fromkeys(metrics["concept"]))
    symbols = {concept: SYMBOLS[place % len(SYMBOLS)] for place, concept in enumerate(concepts)}
    for condition, colour in colours_of(list(dict.fromkeys(metrics["condition"]))).items():
        for column, panel in enumerate(panels, start=1):
            needed = [(part, name) for part in ("value", "low", "high") for name in ("efficacy", panel)]
            if set(needed) <= set(points.columns) and condition in points.index.get_level_values(0):
                own = points.loc[condition, needed].dropna()
                plot.add_trace(_markers(own, condition, panel, colour, symbols, first=column == 1), row=1, col=column)
    for concept in concepts if len(concepts) > 1 else ():
        plot.add_scatter(
            x=[None], y=[None], mode="markers", name=concept, legendgroup="concepts", hoverinfo="skip",
            marker={"symbol": symbols[concept], "color": "#ffffff", "size": 10, "line": {"width": 1.5, "color": INK}},
        )  # fmt: skip
    for column, panel in enumerate(panels, start=1):
        plot.update_xaxes(title_text=f"specificity: {_PANELS[panel]}", row=1, col=column)
    share = {"range": [-0.04, 1.04], "tickformat": ".0%", "dtick": 0.2}
    plot.update_xaxes(**share).update_yaxes(**share)
    plot.update_yaxes(title_text="efficacy: images without the target", row=1, col=1)
    legend = {"orientation": "v", "tracegroupgap": 14, "y": 1, "x": 1.02}
    entries = points.index.get_level_values(0).nunique() + len(concepts)
    return plot.update_layout(template=TEMPLATE, height=max(420, 70 + 28 * entries), legend=legend)


def _markers(
    own: pd.DataFrame, condition: str, panel: str, colour: str, symbols: dict[str, str], first: bool
) -> go.Scatter:
    x, y = own["value", panel], own["value", "efficacy"]
    return go.Scatter(
        x=x, y=y, mode="markers", name=condition, legendgroup=condition, showlegend=first, customdata=own.index,
        error_x=_bar(own, panel, colour), error_y=_bar(own, "efficacy", colour),
        marker={
            "symbol": [symbols[concept] for concept in own.index], "color": colour, "size": 11,
            "line": {"width": 1, "color": "#ffffff"},
        },
        hovertemplate="%{customdata}: efficacy %{y:.1%}, kept %{x:.1%}<extra>" + condition + "</extra>",
    )  # fmt: skip


def _bar(own: pd.DataFrame, metric: str, colour: str) -> dict:
    value, low, high = (own[part, metric] for part in ("value", "low", "high"))
    return {
        "type": "data", "array": high - value, "arrayminus": value - low, "thickness": 1, "width": 0,
        "color": faded(colour, 0.4),
    }  # fmt: skip


def verdict_bars(shares: pd.DataFrame, roles: Mapping[str, Role] = ROLES) -> go.Figure:
    """What the images show, as stacked bars: a row for each concept and condition, a column for each role.

    Args:
        shares: `verdict_shares(run)`: columns suite, concept, condition, role, verdict, count, n, share.
        roles: Those of the run, if it has others than the usual ones.

    Returns:
        The figure.
    """
    shares, found = titled(shares), set(shares["role"])
    shown = [*(name for name in roles if name in found), *sorted(found - set(roles))]
    labels = ["<br>".join(wrap(roles[name].label if name in roles else name, TITLE)) for name in shown]
    plot = make_subplots(1, len(shown), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=labels)
    for verdict, colour in VERDICT_COLOURS.items():
        named = False
        for column, role in enumerate(shown, start=1):
            own = shares[(shares["role"] == role) & (shares["verdict"] == verdict)]
            if own["count"].sum():
                plot.add_trace(_bars(own, verdict, colour, legend=not named), row=1, col=column)
                named = True
    rows = len(shares[["concept", "condition"]].drop_duplicates())
    plot.update_xaxes(range=[0, 1], tickvals=[0, 0.5, 1], ticktext=["0", "50", "100"], showgrid=False)
    plot.update_yaxes(
        autorange="reversed", showgrid=False, ticks="", showline=False, dividercolor=RULE, dividerwidth=1
    )  # fmt: skip
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    plot.update_xaxes(title_text="% of images", title_font_size=12)
    legend = {"orientation": "h", "y": -80 / (26 * rows + 20), "x": 0.5, "xanchor": "center", "traceorder": "normal"}
    plot.update_layout(template=TEMPLATE, barmode="stack", legend=legend, margin={"r": 28, "t": 56})
    return plot.update_layout(height=166 + 26 * rows)


def _bars(own: pd.DataFrame, verdict: str, colour: str, legend: bool) -> go.Bar:
    several = own["concept"].nunique() > 1
    y = [own["concept"], own["condition"]] if several else own["condition"]
    return go.Bar(
        x=own["share"], y=y, orientation="h", name=verdict, legendgroup=verdict, showlegend=legend,
        marker={"color": colour, "line": {"width": 0.5, "color": "#ffffff"}}, customdata=own[["count", "n"]],
        hovertemplate="%{y}: %{customdata[0]} of %{customdata[1]} images<extra>" + verdict + "</extra>",
    )  # fmt: skip


def concept_matrix(matrix: pd.DataFrame, rows: str = "erased") -> go.Figure:
    """What erasing the concept of a row does to the concept of a column: percentage points of detection rate.

    Red is lost, blue gained; a frame marks the erased concept itself; blank: no prompt names it; ×: the unedited model
    does not show it, so nothing can be lost.

    Args:
        matrix: The rows of one condition of `concept_matrix(run)`, or those of one suite; `difference` is in [−1, 1].
        rows: The column that names the rows: "erased", or "condition" for those of one suite.

    Returns:
        The figure.
    """
    matrix = matrix.assign(row=titled(matrix)[rows])
    grid = matrix.pivot(index="row", columns="concept", values="difference")
    erased = dict(zip(matrix["row"], matrix["erased"], strict=True))
    first = [name for name in dict.fromkeys(erased.values()) if name in grid]
    others = [name for name in dict.fromkeys(matrix["concept"]) if name not in first]
    grid = grid.reindex(index=list(erased), columns=first + others)
    void = matrix[matrix["mark"] == "void"]
    crosses = set(zip(void["row"], void["concept"], strict=True))
    text = [
        ["×" if (row, column) in crosses else "" if pd.isna(value) else _points(value)
         for column, value in values.items()]
        for row, values in grid.iterrows()
    ]  # fmt: skip
    plot = figure(height=150 + 34 * len(grid))
    plot.add_heatmap(
        z=grid.to_numpy() * 100, x=list(grid.columns), y=list(grid.index), text=text, texttemplate="%{text}",
        textfont={"size": 11}, colorscale=LOSS_AND_GAIN, zmin=-100, zmax=100, xgap=2, ygap=2, hoverongaps=False,
        colorbar={
            "title": {"text": "points", "side": "right", "font": {"size": 12}}, "thickness": 10, "outlinewidth": 0,
            "tickvals": [-100, 0, 100],
        },
        hovertemplate="%{y}: %{x} %{z:+.1f} points<extra></extra>",
    )  # fmt: skip
    for place, name in enumerate(grid.index):
        if erased[name] in grid.columns:
            x = list(grid.columns).index(erased[name])
            box = {"x0": x - 0.5, "x1": x + 0.5, "y0": place - 0.5, "y1": place + 0.5}
            plot.add_shape(type="rect", **box, line={"color": INK, "width": 1.5})
    plot.update_xaxes(
        title_text="concept in the prompt", side="top", tickangle=-50, showgrid=False, ticks="", showline=False
    )
    title = "erased" if rows == "erased" else None
    plot.update_yaxes(title_text=title, autorange="reversed", showgrid=False, ticks="", showline=False)
    return plot.update_layout(margin={"t": 90, "b": 16})


def _points(difference: float) -> str:
    """A difference of shares in whole percentage points, with a real minus sign and no sign at 0."""
    whole = round(100 * difference)
    return f"{whole:+d}".replace("-", "−") if whole else "0"
