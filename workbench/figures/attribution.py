"""Figures of attribution: whether maps hit, whether gradients tell the truth, where features fire, what feeds what."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float, UInt8

from workbench.figures.pictures import attention_overlays
from workbench.figures.template import COLOURS, INK, QUIET, RULE, figure

SCORES = {"iou": "its word", "other_word": "another word", "other_picture": "its word, another picture"}
HOWS = {"gradient": "gradient × activation", "integrated": "integrated gradients"}
COLUMNS = 8  # moments of a denoising that are shown
WIDEST = 7.0  # pixels, of the strongest edge


def overlap_scores(summary: pd.DataFrame) -> go.Figure:
    """How well maps of words lie on true masks, by the number of objects, beside the controls.

    Args:
        summary: `toy.segmentation.summary`: columns objects, score, mean, low, high, overlaps in [0, 1].

    Returns:
        The figure, a colour a score; dots are means, lines 95 % intervals.
    """
    plot = figure(height=320, legend={"orientation": "h", "y": 1.14})
    for (score, label), colour in zip(SCORES.items(), (COLOURS[0], QUIET, COLOURS[4]), strict=True):
        own = summary[summary["score"] == score]
        plot.add_scatter(
            x=own["objects"], y=own["mean"], name=label, mode="markers", marker={"size": 10, "color": colour},
            error_y={"type": "data", "array": own["high"] - own["mean"], "arrayminus": own["mean"] - own["low"],
                     "thickness": 1.2, "width": 0},
            hovertemplate="%{x}: %{y:.2f}<extra>" + label + "</extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="objects in the picture", type="category")
    return plot.update_yaxes(title_text="overlap with the mask (IoU)", range=[-0.03, 1.0])


def effects_against_ablation(effects: pd.DataFrame) -> go.Figure:
    """Attribution (up) against what ablation really does (across), a dot a feature; the truth is the diagonal.

    Args:
        effects: Columns feature, ablation, and any of gradient, integrated, all in the lens's unit.

    Returns:
        The figure, a colour a way to attribute.
    """
    plot = figure(height=420, legend={"orientation": "h", "y": 1.1})
    present = [how for how in HOWS if how in effects]
    ends = [float(effects[["ablation", *present]].min().min()), float(effects[["ablation", *present]].max().max())]
    plot.add_scatter(x=ends, y=ends, mode="lines", line={"color": RULE, "width": 1}, hoverinfo="skip", showlegend=False)
    for how, colour in zip(present, COLOURS, strict=False):
        plot.add_scatter(
            x=effects["ablation"], y=effects[how], text=effects["feature"], mode="markers", name=HOWS[how],
            marker={"size": 7, "color": colour, "opacity": 0.75},
            hovertemplate="feature %{text}: %{y:.3g}, truly %{x:.3g}<extra>" + HOWS[how] + "</extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="what the lens loses without the feature")
    return plot.update_yaxes(title_text="attributed to it")


def feature_overlays(
    image: UInt8[np.ndarray, "h w 3"],
    maps: Float[np.ndarray, "steps features y x"],
    timesteps: Sequence[float],
    labels: Sequence[str],
) -> go.Figure:
    """Where in one picture features fire (a row each) and when (noise at the left).

    Args:
        image: uint8 `[h, w, 3]`.
        maps: Of `feature_pictures`, those of this picture: `[steps, features, y, x]`, 0 or more. Each feature has a
            scale of its own.
        timesteps: Of each step; no more than `COLUMNS` are shown, evenly spread.
        labels: What each feature is called.

    Returns:
        The figure.
    """
    steps = np.unique(np.linspace(0, len(maps) - 1, min(len(maps), COLUMNS)).round().astype(int))
    heat = maps[steps].swapaxes(0, 1)
    heat = heat / np.maximum(heat.max(axis=(1, 2, 3), keepdims=True), np.finfo(np.float32).tiny)
    images = np.broadcast_to(image, (*heat.shape[:2], *image.shape))
    return attention_overlays(images, heat, labels, [f"{timesteps[step]:.0f}" for step in steps])


def feature_flow(edges: pd.DataFrame, names: Mapping[str, Mapping[int, str]] | None = None) -> go.Figure:
    """Features of a text site (left) and what they feed at a picture site (right), as a layered graph.

    Args:
        edges: Of `feature_graph`: columns source, target, weight, and share, that of the target's mean activation,
            which is the width. Blue feeds, red holds down.
        names: What features are, under "source" and "target".

    Returns:
        The figure.
    """
    sides = {side: list(dict.fromkeys(edges[side])) for side in ("source", "target")}
    height = 90 + 34 * max(map(len, sides.values()), default=1)
    plot = figure(height=height, showlegend=False, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    places = {side: _places(features) for side, features in sides.items()}
    strongest = max(float(edges["share"].abs().max()), 1e-9) if len(edges) else 1.0
    for edge in edges[::-1].itertuples():  # the strongest comes last and lies on top
        start, end = places["source"][edge.source], places["target"][edge.target]
        bend, colour = np.linspace(0, 1, 24), COLOURS[0 if edge.weight > 0 else 1]
        plot.add_scatter(
            x=bend, y=start + (end - start) * (3 * bend**2 - 2 * bend**3), mode="lines", opacity=0.65,
            line={"width": max(0.6, WIDEST * abs(edge.share) / strongest), "color": colour},
            hovertemplate=f"{edge.source} → {edge.target}: {edge.weight:+.3g} ({edge.share:+.0%})<extra></extra>",
        )  # fmt: skip
    for side, x, position in (("source", 0.0, "middle left"), ("target", 1.0, "middle right")):
        known = (names or {}).get(side, {})
        plot.add_scatter(
            x=[x] * len(sides[side]), y=[places[side][feature] for feature in sides[side]], mode="markers+text",
            text=[f"{feature} {known.get(feature, '')}".strip() for feature in sides[side]], textposition=position,
            marker={"size": 11, "color": INK}, hoverinfo="skip", name=side, cliponaxis=False,
        )  # fmt: skip
        plot.add_annotation(x=x, y=1.0, yref="paper", yanchor="bottom", text="text" if x == 0 else "picture",
                            showarrow=False, font={"color": QUIET})  # fmt: skip
    hidden = {"visible": False, "showgrid": False}
    return plot.update_xaxes(**hidden, range=[-0.45, 1.45]).update_yaxes(**hidden, range=[-0.05, 1.05])


def _places(features: Sequence[int]) -> dict[int, float]:
    """Heights in [0, 1], the first on top."""
    return {feature: 1 - (place + 0.5) / len(features) for place, feature in enumerate(features)}
