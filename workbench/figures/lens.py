"""Figures of the logit lens: when a picture is decided, cell by cell. Their inputs are those of
`workbench.interpret.attribution.logit_lens`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float, UInt8
from plotly.subplots import make_subplots

from workbench.figures.pictures import attention_overlays, contact_sheet
from workbench.figures.template import COLOURS, HEAT, QUIET, TEMPLATE

ROW = 22  # pixels
MEASURES = {
    "kl": "KL to the end, nats", "probability": "probability of the drawn token", "rank": "its rank, geometric mean",
    "same": "share of cells drawn alike",
}  # fmt: skip
LINES = {
    "value": ("the layer", COLOURS[0], "solid"), "other_picture": ("another prompt's picture", QUIET, "dash"),
    "other_cell": ("another cell", QUIET, "dot"),
}  # fmt: skip


def lens_by_layer(table: pd.DataFrame) -> go.Figure:
    """How far each layer agrees with the end, a panel a measure, beside its two controls (grey).

    Args:
        table: Of `LogitLens.by_layer`: columns site, measure, value, low, high, other_picture, other_cell.

    Returns:
        The figure; lines through the 95 % intervals of the layers' own values.
    """
    measures = [name for name in MEASURES if name in set(table["measure"])]
    plot = make_subplots(1, len(measures), subplot_titles=[MEASURES[name] for name in measures])
    for column, measure in enumerate(measures, start=1):
        own = table[table["measure"] == measure]
        for name, (label, colour, dash) in LINES.items():
            reach = {"type": "data", "array": own["high"] - own["value"], "arrayminus": own["value"] - own["low"],
                     "thickness": 1.2, "width": 0} if name == "value" else None  # fmt: skip
            plot.add_scatter(
                x=own["site"], y=own[name], name=label, mode="lines+markers", legendgroup=name, error_y=reach,
                showlegend=column == 1, line={"color": colour, "dash": dash, "width": 1.6}, marker={"size": 5},
                hovertemplate="%{x}: %{y:.3g}<extra>" + label + "</extra>", row=1, col=column,
            )  # fmt: skip
        plot.update_yaxes(type="log" if measure == "rank" else "linear", row=1, col=column)
    plot.update_xaxes(tickangle=-60, showgrid=False, tickfont={"size": 11})
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    return plot.update_layout(
        template=TEMPLATE, height=340, margin={"t": 60}, legend={"orientation": "h", "y": 1.24, "x": 0}
    )


def lens_cells(values: Mapping[str, Any], sites: Sequence[str], label: str) -> go.Figure:
    """One measure of one picture, a row a layer and a column a cell, in the order in which cells are written.

    Args:
        values: By name `[layers, cells]`, 0 or more: a panel each, on one scale; a control stands below.
        sites: One for each layer.
        label: What the colour is called.

    Returns:
        The figure; a line stands before each row of the picture.
    """
    cells = next(iter(values.values())).shape[1]
    side = round(cells**0.5)
    place = [f"row {cell // side + 1}, column {cell % side + 1}" for cell in range(cells)]
    plot = make_subplots(len(values), 1, subplot_titles=list(values), shared_xaxes=True, vertical_spacing=0.16)
    for row, own in enumerate(values.values(), start=1):
        plot.add_heatmap(
            z=own, y=list(sites), coloraxis="coloraxis", ygap=1, text=[place] * len(own),
            hovertemplate="%{y}, %{text}: %{z:.3g}<extra></extra>", row=row, col=1,
        )  # fmt: skip
        for first in range(side, cells, side):
            plot.add_vline(x=first - 0.5, line={"width": 0.6, "color": QUIET}, row=row, col=1)
    rows = list(range(0, cells, side))
    plot.update_xaxes(showgrid=False, tickvals=rows, ticktext=[str(at // side + 1) for at in rows])
    plot.update_xaxes(title_text="cell, row by row of the picture", row=len(values), col=1)
    plot.update_yaxes(showgrid=False, autorange="reversed", ticks="")
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    scale = {"title": {"text": label, "side": "right"}, "thickness": 8, "outlinewidth": 0}
    return plot.update_layout(
        template=TEMPLATE, height=90 + len(values) * (60 + ROW * len(sites)), margin={"t": 40},
        coloraxis={"colorscale": HEAT, "cmin": 0, "colorbar": scale},
    )  # fmt: skip


def lens_pictures(
    drawn: UInt8[np.ndarray, "pictures layers h w 3"], prompts: Sequence[str], sites: Sequence[str]
) -> go.Figure:
    """What each layer would have drawn, a row a picture; the last column is the picture itself.

    Args:
        drawn: Of `LogitLens`.
        prompts: One for each row.
        sites: One for each layer.

    Returns:
        The figure.
    """
    return contact_sheet(drawn, prompts, sites)


def lens_depths(
    images: UInt8[np.ndarray, "pictures h w 3"],
    decided: Float[np.ndarray, "pictures cells"],
    prompts: Sequence[str],
    layers: int,
) -> go.Figure:
    """How deep in the model each cell is decided, over the pictures: white at the input, darkest at the last layer.

    Args:
        images: The pictures.
        decided: Of `LogitLens`: the number of the site, from 0.
        prompts: One for each picture.
        layers: How many sites there are.

    Returns:
        The figure, a column a picture.
    """
    side = round(decided.shape[1] ** 0.5)
    maps = (decided / max(layers - 1, 1)).clip(0, 1).reshape(1, len(images), side, side)
    return attention_overlays(images[None], maps, ["decided at"], prompts)
