"""One look for all figures: quiet axes, one typeface, and colours that a colour-blind reader can tell apart."""

from collections.abc import Sequence

import plotly.graph_objects as go

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
INK, QUIET, RULE, PAPER = "#1f2328", "#5f6a72", "#d9dde1", "#ffffff"
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#6b5b95",
    "#8c6d31",
)  # after Okabe and Ito
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "triangle-down", "x", "pentagon")
HEAT = ((0.0, "#ffffff"), (0.15, "#fdf0d9"), (0.4, "#fdbb84"), (0.7, "#e0603c"), (1.0, "#8f1d1d"))  # white is none
LOSS_AND_GAIN = ((0.0, "#b2182b"), (0.25, "#ef9a7c"), (0.5, "#ffffff"), (0.75, "#8fbfe0"), (1.0, "#2166ac"))

_AXIS = {
    "showgrid": True, "gridcolor": "#eceff1", "zeroline": False, "showline": True, "linecolor": "#9aa3aa",
    "ticks": "outside", "tickcolor": "#9aa3aa", "ticklen": 4, "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}  # fmt: skip
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER, "plot_bgcolor": PAPER, "colorway": list(COLOURS),
        "xaxis": _AXIS, "yaxis": _AXIS, "margin": {"l": 64, "r": 16, "t": 32, "b": 48},
        "legend": {"bgcolor": "rgba(255,255,255,0)", "font": {"size": 12}},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": RULE, "font": {"family": FONT, "size": 12, "color": INK}},
        "bargap": 0.28,
    }
)  # fmt: skip


def figure(**layout: object) -> go.Figure:
    """An empty figure in the house's look.

    Args:
        **layout: As for plotly's layout; wins over the look.

    Returns:
        The figure.
    """
    return go.Figure(layout={"template": TEMPLATE, **layout})


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name; the first stays quiet, for it is the unedited model or another reference.

    Args:
        names: In order.

    Returns:
        Name → #rrggbb; colours come again after the ninth name.
    """
    palette = [QUIET, *COLOURS]
    return {name: palette[place % len(palette)] for place, name in enumerate(names)}


def faded(colour: str, opacity: float) -> str:
    """A colour with an opacity.

    Args:
        colour: #rrggbb.
        opacity: In [0, 1].

    Returns:
        A colour as CSS says it.
    """
    r, g, b = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({r},{g},{b},{opacity})"
