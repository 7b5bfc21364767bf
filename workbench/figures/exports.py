"""Figures in notebooks that are exported to HTML."""

import os
import sys

import plotly.io

MIMETYPE = "plotly_mimetype"


def keep_in_exports() -> None:
    """Figures of a notebook are saved as HTML too, plotly.js with them once: nbconvert shows nothing else of them.

    Only in a notebook whose renderer nobody has chosen.
    """
    if "ipykernel" in sys.modules and "PLOTLY_RENDERER" not in os.environ and plotly.io.renderers.default == MIMETYPE:
        plotly.io.renderers.default = f"{MIMETYPE}+notebook"
