"""Figures of a study: its tests against the margin, what each control does, dose and response, and causal traces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.figures.template import COLOURS, INK, LOSS_AND_GAIN, QUIET, SYMBOLS, faded, figure

DECISIONS = {"above": "#009e73", "below": "#d55e00", "open": QUIET}


def study_tests(tests: pd.DataFrame, margin: float) -> go.Figure:
    """Each test's estimate with its interval, beside the margin (dotted): green above, red below, grey open.

    Args:
        tests: Columns question, value, low, high, all in [−1, 1], and decision ("above", "below", "open").
        margin: In [0, 1).

    Returns:
        The figure.
    """
    plot = figure(height=110 + 46 * len(tests), showlegend=False)
    for row in tests.itertuples():
        plot.add_scatter(
            x=[row.value], y=[row.question], mode="markers", error_x=_bar(row),
            marker={"size": 11, "color": DECISIONS[row.decision]},
            hovertemplate="%{x:.0%} (" + f"{row.low:.0%} to {row.high:.0%})<extra></extra>",
        )  # fmt: skip
    plot.add_vline(x=margin, line={"color": INK, "width": 1.2, "dash": "dot"})
    plot.add_vline(x=0, line={"color": "#9aa3aa", "width": 1})
    lowest, highest = min(0.0, float(tests["low"].min())), max(1.0, float(tests[["value", "high"]].max(axis=None)))
    plot.update_xaxes(
        title_text="difference, in shares of pictures", tickformat=".0%", range=[lowest - 0.05, highest + 0.05]
    )
    return plot.update_yaxes(autorange="reversed", showgrid=False)


def study_effects(effects: pd.DataFrame, labels: Sequence[str]) -> go.Figure:
    """What the subject and each control do, at one dose: an interval each, a colour and symbol for each word.

    Args:
        effects: Columns word, effect, low, high in [−1, 1].
        labels: The names of its rows; equal where words share a row.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(labels))
    plot = figure(height=120 + 30 * len(names))
    for place, (word, own) in enumerate(effects.assign(label=list(labels)).groupby("word", sort=False)):
        shift = 0.16 * (place - (effects["word"].nunique() - 1) / 2)
        plot.add_scatter(
            x=own["effect"], y=[names.index(label) + shift for label in own["label"]], mode="markers", name=str(word),
            error_x={
                "type": "data", "array": own["high"] - own["effect"], "arrayminus": own["effect"] - own["low"],
                "thickness": 1.4, "width": 3,
            },
            marker={"size": 9, "symbol": SYMBOLS[place], "color": COLOURS[place]},
            text=own["label"], hovertemplate="%{text}: %{x:.0%}<extra>" + str(word) + "</extra>",
        )  # fmt: skip
    plot.add_vline(x=0, line={"color": "#9aa3aa", "width": 1})
    plot.update_xaxes(title_text="effect, in shares of pictures", tickformat=".0%")
    plot.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False)
    return plot.update_layout(showlegend=effects["word"].nunique() > 1)


def dose_response(effects: pd.DataFrame) -> go.Figure:
    """Effect over dose with its interval as a band: a colour a word.

    Args:
        effects: Columns whose ("subject" or "random"), word, dose, effect, low, high.

    Returns:
        The figure; whole lines are the subject, dashed ones all random draws together.
    """
    plot = figure(height=380)
    words = list(dict.fromkeys(effects["word"]))
    for (whose, word), own in effects.groupby(["whose", "word"], sort=False):
        own, colour = own.sort_values("dose"), COLOURS[words.index(word) % len(COLOURS)]
        doses, random = [0.0, *own["dose"]], whose == "random"
        edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        plot.add_scatter(x=doses, y=[0.0, *own["low"]], **edge)
        opacity = 0.06 if random else 0.16
        plot.add_scatter(x=doses, y=[0.0, *own["high"]], fill="tonexty", fillcolor=faded(colour, opacity), **edge)
        plot.add_scatter(
            x=doses, y=[0.0, *own["effect"]], mode="lines+markers", name=f"{word}, {whose}",
            line={"color": colour, "width": 2.2, "dash": "dash" if random else "solid"},
            marker={"size": 7, "symbol": SYMBOLS[words.index(word) % len(SYMBOLS)], "color": colour},
            hovertemplate="dose %{x}: %{y:.0%}<extra>" + f"{word}, {whose}" + "</extra>",
        )  # fmt: skip
    plot.update_layout(legend_traceorder="normal")
    plot.update_xaxes(title_text="dose: 1 moves the part whole", rangemode="tozero")
    return plot.update_yaxes(title_text="effect, in shares of pictures", tickformat=".0%")


def trace_map(traces: pd.DataFrame, across: str, title: str = "share restored") -> go.Figure:
    """A causal trace: sites in rows, tokens or steps in columns, the restored share in colour.

    Args:
        traces: Columns site, `across`, restored, low, high. Blue restores, red does the opposite.
        across: "token" or "step".
        title: What the colour is called.

    Returns:
        The figure, with the shares in figures where their intervals exclude 0.
    """
    sites, columns = (list(dict.fromkeys(traces[name])) for name in ("site", across))
    grid = {name: traces.pivot(index="site", columns=across, values=name).loc[sites, columns].to_numpy() for name in
            ("restored", "low", "high")}  # fmt: skip
    clear = (grid["low"] > 0) | (grid["high"] < 0)
    text = np.where(clear, np.vectorize("{:.2f}".format)(grid["restored"].round(2) + 0.0), "")
    names = [column if isinstance(column, str) else f"{column:g}" for column in columns]
    plot = figure(height=110 + 30 * len(sites))
    plot.add_heatmap(
        z=grid["restored"], x=names, y=sites, text=text, texttemplate="%{text}",
        colorscale=LOSS_AND_GAIN, zmin=-1, zmax=1, xgap=1, ygap=1,
        colorbar={"thickness": 9, "outlinewidth": 0, "title": {"text": title, "side": "right"}},
        hovertemplate="%{y}, %{x}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title_text=across, showgrid=False, type="category")
    return plot.update_yaxes(showgrid=False, autorange="reversed")


def _bar(row: Any) -> dict:
    value, low, high = (getattr(row, name) for name in ("value", "low", "high"))
    thin = {"type": "data", "thickness": 1.8, "width": 5, "color": DECISIONS[row.decision]}
    return {**thin, "array": [max(0.0, high - value)], "arrayminus": [max(0.0, value - low)]}
