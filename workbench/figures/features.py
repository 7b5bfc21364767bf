"""Figures of sparse autoencoders and their features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from workbench.figures.template import COLOURS, HEAT, QUIET, TEMPLATE, figure

_CURVES = {"explained_variance": "explained variance", "l0": "L0", "loss": "loss", "dead_share": "dead features"}


def density_histogram(density: Float[np.ndarray, " features"], marked: Sequence[int] = ()) -> go.Figure:
    """How often the features fire: a histogram of log₁₀ density, with dead features as a bar of their own.

    Args:
        density: Each feature's share of activations on which it fires, in [0, 1].
        marked: Features to point at.

    Returns:
        The figure.
    """
    alive = density[density > 0]
    counts, edges = np.histogram(np.log10(alive), bins=np.arange(-7, 0.01, 0.25))
    plot = figure(height=300, showlegend=False)
    plot.add_bar(
        x=edges[:-1] + 0.125, y=counts, width=0.23, marker_color=COLOURS[0], name="alive",
        hovertemplate="10<sup>%{x:.2f}</sup>: %{y} features<extra></extra>",
    )  # fmt: skip
    dead = len(density) - len(alive)
    if dead:
        plot.add_bar(
            x=[-7.6], y=[dead], width=0.23, marker_color=QUIET, name="dead",
            hovertemplate="never: %{y} features<extra></extra>",
        )  # fmt: skip
    for feature in marked:
        if density[feature] > 0:
            plot.add_vline(x=float(np.log10(density[feature])), line={"color": COLOURS[1], "width": 1, "dash": "dot"})
    ticks = [place for place in range(-7, 1) if place % 2 == 0]
    labels = [f"10<sup>{place}</sup>".replace("-", "−") for place in ticks[:-1]] + ["1"]
    plot.update_xaxes(tickvals=[-7.6, *ticks], ticktext=["never", *labels], title_text="share of tokens it fires on")
    return plot.update_yaxes(title_text="features")


def token_strip(words: Sequence[Sequence[str]], activations: Sequence[Sequence[float]], title: str = "") -> go.Figure:
    """One feature on the words of some prompts: a row a prompt, a cell a word, darker where it fires more.

    Args:
        words: Of each prompt; at least one prompt.
        activations: Of the feature, one for each word, 0 or more.
        title: Above the figure.

    Returns:
        The figure.
    """
    width = max(map(len, words))
    z = np.full((len(words), width), np.nan)
    for row, values in enumerate(activations):
        z[row, : len(values)] = values
    text = [[*row, *[""] * (width - len(row))] for row in words]
    plot = figure(height=70 + 26 * len(words), title={"text": title, "font": {"size": 13}})
    plot.add_heatmap(
        z=z, text=text, texttemplate="%{text}", colorscale=HEAT, zmin=0, zmax=max(float(np.nanmax(z)), 1e-9), xgap=1,
        ygap=4, colorbar={"thickness": 8, "outlinewidth": 0}, hovertemplate="%{text}: %{z:.2f}<extra></extra>",
        hoverongaps=False,
    )  # fmt: skip
    hidden = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}
    plot.update_xaxes(**hidden)
    return plot.update_yaxes(**hidden, autorange="reversed")


def training_curves(log: pd.DataFrame) -> go.Figure:
    """What was measured while a sparse autoencoder trained, a panel each.

    Args:
        log: Columns step, and any of explained_variance, l0, loss, dead_share.

    Returns:
        The figure.
    """
    present = [name for name in _CURVES if name in log]
    plot = make_subplots(1, len(present), subplot_titles=[_CURVES[name] for name in present], horizontal_spacing=0.08)
    for column, name in enumerate(present, start=1):
        plot.add_scatter(
            x=log["step"], y=log[name], mode="lines", name=_CURVES[name], line={"color": COLOURS[0], "width": 1.6},
            row=1, col=column,
        )  # fmt: skip
    plot.update_xaxes(title_text="step")
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    return plot.update_layout(template=TEMPLATE, height=260, showlegend=False, margin={"t": 40})
