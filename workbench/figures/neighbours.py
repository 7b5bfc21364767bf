"""Figures of neighbour concepts."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.figures.template import COLOURS, QUIET, TEMPLATE

SCORES = {
    "cosine": "embedding (centred cosine)",
    "reached": "random neighbours",
    "feature_overlap": "shared features",
    "effect_overlap": "shared effect",
}


def neighbour_lists(table: pd.DataFrame, shown: int = 12) -> go.Figure:
    """The nearest words by each score that was measured, a panel a score, known neighbours in colour.

    Args:
        table: That of `find_neighbours`: columns word, known, and the scores; higher is nearer.
        shown: Words in a panel.

    Returns:
        The figure.
    """
    present = [name for name in SCORES if name in table and table[name].notna().any()]
    plot = make_subplots(1, len(present), subplot_titles=[SCORES[name] for name in present], horizontal_spacing=0.1)
    for column, name in enumerate(present, start=1):
        own = table.sort_values(name, ascending=False, kind="stable").head(shown)
        plot.add_bar(
            x=own[name], y=own["word"], orientation="h", row=1, col=column, showlegend=False,
            marker_color=[COLOURS[0] if known else QUIET for known in own["known"]],
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )  # fmt: skip
        plot.update_yaxes(autorange="reversed", row=1, col=column, showgrid=False, ticks="")
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    height = 80 + 22 * min(shown, len(table))
    return plot.update_layout(template=TEMPLATE, height=height, margin={"t": 36, "l": 8, "r": 8, "b": 32})
