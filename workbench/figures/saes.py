"""Figures that compare sparse autoencoders with each other. All take the table of a sweep: a row an SAE."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.template import COLOURS, QUIET, SYMBOLS, colours_of, figure

_HOVER = "%{text}<br>L0 %{x:.1f}, %{y:.3f}<extra></extra>"


def frontier(table: pd.DataFrame, measure: str = "explained_variance", title: str = "explained variance") -> go.Figure:
    """Fidelity against sparsity; left and up is better.

    A colour a site, a symbol an architecture, a line through the SAEs that differ in sparsity alone.

    Args:
        table: Columns sae, site, architecture, d_sae, l0, and `measure` (NaN: not measured).
        measure: The column that goes up.
        title: What it is called.

    Returns:
        The figure.
    """
    colours = colours_of(["", *dict.fromkeys(table["site"])])
    symbols = {name: SYMBOLS[place % len(SYMBOLS)] for place, name in enumerate(dict.fromkeys(table["architecture"]))}
    plot = figure(height=420)
    for (site, architecture, d_sae), rows in table.groupby(["site", "architecture", "d_sae"], sort=False):
        rows = rows.sort_values("l0")
        plot.add_scatter(
            x=rows["l0"], y=rows[measure], text=rows["sae"], mode="lines+markers", hovertemplate=_HOVER,
            name=f"{site} · {architecture} · {d_sae}", line={"color": colours[site], "width": 1.2},
            marker={"size": 6 + 1.5 * np.log2(d_sae) / 2, "symbol": symbols[architecture], "color": colours[site]},
        )  # fmt: skip
    plot.update_xaxes(title_text="L0: features a row", type="log")
    return plot.update_yaxes(title_text=title)


def dead_and_dense(table: pd.DataFrame) -> go.Figure:
    """The share of latents that never fire on held-out rows, and of those that fire on more than a tenth of them.

    Args:
        table: Columns sae, dead_share, dense_share, both in [0, 1].

    Returns:
        The figure.
    """
    plot = figure(height=max(260, 70 + 16 * len(table)), barmode="group")
    for name, column, colour in (("dead", "dead_share", QUIET), ("dense", "dense_share", COLOURS[1])):
        plot.add_bar(
            y=table["sae"], x=table[column], orientation="h", name=name, marker_color=colour,
            hovertemplate="%{y}: %{x:.1%}<extra>" + name + "</extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="share of latents", tickformat=".0%")
    return plot.update_yaxes(autorange="reversed", showgrid=False)


def densities(log_density: Mapping[str, Float[np.ndarray, " latents"]], lowest: float = -5.0) -> go.Figure:
    """How often the latents of each SAE fire: a violin of log₁₀ density each.

    Args:
        log_density: Each latent's log₁₀ of the share of rows on which it fires, by SAE.
        lowest: Latents below it count as dead: they are left out, and their share is named.

    Returns:
        The figure.
    """
    plot = figure(height=max(260, 70 + 34 * len(log_density)), showlegend=False)
    for place, (sae, values) in enumerate(log_density.items()):
        alive = values[values > lowest]
        plot.add_violin(
            x=alive, name=f"{sae} ({1 - len(alive) / len(values):.0%} dead)", orientation="h", side="positive",
            width=1.6, points=False, line={"color": COLOURS[place % len(COLOURS)], "width": 1.2}, hoverinfo="name",
        )  # fmt: skip
    plot.update_xaxes(title_text="log₁₀ of the share of rows on which a latent fires", range=[lowest, 0])
    return plot.update_yaxes(showgrid=False, autorange="reversed")
