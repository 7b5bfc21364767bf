"""Where in a model a concept can be read. Its input is the table of `workbench.interpret.decodability.decodability`."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.figures.template import HEAT, TEMPLATE

ROW = 22  # pixels


def decodability_map(table: pd.DataFrame) -> go.Figure:
    """Accuracy of probes by site (rows, in the order of the table) and step; the text, which is read once, at the left.

    Args:
        table: Of `decodability`: columns site, part, step, timestep (NaN: text, and all of a Janus), accuracy, low,
            high, control, in [0, 1]. White is chance, or worse.

    Returns:
        The figure.
    """
    of_picture = table["part"] == "picture"
    parts = [part for part in (table[~of_picture], table[of_picture]) if len(part)]
    once = parts[0]["part"].nunique()
    widths = [0.07 + 0.06 * once, 0.93 - 0.06 * once] if len(parts) == 2 else [1.0]
    plot = make_subplots(1, len(parts), column_widths=widths, horizontal_spacing=0.17)
    for column, part in enumerate(parts, start=1):
        _add_grid(plot, part, column, scale=column == len(parts))
    rows = max(part["site"].nunique() for part in parts)
    plot.update_yaxes(autorange="reversed", showgrid=False, ticks="").update_xaxes(showgrid=False)
    return plot.update_layout(template=TEMPLATE, height=120 + ROW * rows, margin={"l": 8, "t": 12})


def _add_grid(plot: go.Figure, part: pd.DataFrame, column: int, scale: bool) -> None:
    keys = ["part", "step"]
    places = part[[*keys, "timestep"]].drop_duplicates().reset_index(drop=True)
    order = pd.MultiIndex.from_frame(places[keys])
    grids = [
        part.pivot(index="site", columns=keys, values=name).reindex(part["site"].unique())[order]
        for name in ("accuracy", "low", "high", "control")
    ]
    times = places["timestep"]
    written = bool(times.isna().all())  # row by row, or text
    labels = [_label(place) for place in places.itertuples()]
    plot.add_heatmap(
        z=grids[0].to_numpy(), x=list(places.index), y=list(grids[0].index), zmin=0.5, zmax=1, colorscale=HEAT,
        xgap=1, ygap=1, customdata=np.stack([grid.to_numpy() for grid in grids[1:]], axis=-1), showscale=scale,
        colorbar={"thickness": 8, "outlinewidth": 0, "tickformat": ".0%", "title": {"text": "accuracy"}},
        hovertemplate="%{y}: %{z:.0%} (%{customdata[0]:.0%} to %{customdata[1]:.0%})<br>labels shuffled: "
        "%{customdata[2]:.0%}<extra></extra>", row=1, col=column,
    )  # fmt: skip
    title = "timestep, from noise to picture"
    if written:
        title = "row of the picture" if (places["part"] == "picture").any() else ""
    plot.update_xaxes(tickvals=list(places.index), ticktext=labels, title_text=title, row=1, col=column)


def _label(place: Any) -> str:
    if place.part != "picture":
        return str(place.part)
    return f"{place.step + 1}" if np.isnan(place.timestep) else f"{place.timestep:.0f}"
