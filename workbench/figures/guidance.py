"""Figure of how much guidance matters. Its input is the table of `workbench.toy.guidance`."""

import pandas as pd
import plotly.graph_objects as go

from workbench.figures.template import colours_of, figure


def guidance_figure(curve: pd.DataFrame) -> go.Figure:
    """Share of pictures that show the concept against the scale of guidance, a line for each kind of concept.

    Args:
        curve: Columns kind, guidance_scale, negative, value, low, high. Rows with `negative`, whose negative prompt is
            the concept, are dashed.

    Returns:
        The figure.
    """
    plot = figure(height=380, legend={"orientation": "h", "y": 1.15})
    for kind, colour in colours_of(list(dict.fromkeys(curve["kind"]))).items():
        for negative, dash in ((False, "solid"), (True, "dot")):
            own = curve[(curve["kind"] == kind) & (curve["negative"] == negative)]
            plot.add_scatter(
                x=own["guidance_scale"], y=own["value"], name=f"{kind}, as negative prompt too" if negative else kind,
                mode="lines+markers", line={"color": colour, "dash": dash},
                error_y={
                    "type": "data", "array": own["high"] - own["value"], "arrayminus": own["value"] - own["low"],
                    "thickness": 1, "width": 0,
                },
            )  # fmt: skip
    plot.update_yaxes(title_text="pictures that show the concept", tickformat=".0%", range=[-0.03, 1.03])
    return plot.update_xaxes(title_text="scale of guidance (1: none)")
