"""The figure of neighbours ranks by each score that was measured, and tells known neighbours by colour."""

import numpy as np
import pandas as pd

from workbench.figures.neighbours import neighbour_lists
from workbench.figures.template import COLOURS, QUIET

TABLE = pd.DataFrame({
    "word": ["cat", "vixen", "dog"], "known": [False, True, False], "cosine": [0.5, 0.9, 0.1],
    "reached": [0.4, 0.3, 0.2], "feature_overlap": [np.nan] * 3, "effect_overlap": [0.2, 0.1, 0.8],
})  # fmt: skip


def test_each_panel_has_its_own_order_and_unmeasured_scores_have_none():
    plot = neighbour_lists(TABLE)
    orders = [["vixen", "cat", "dog"], ["cat", "vixen", "dog"], ["dog", "cat", "vixen"]]
    assert [list(bar.y) for bar in plot.data] == orders
    assert list(plot.data[0].marker.color) == [COLOURS[0], QUIET, QUIET]
    assert len(neighbour_lists(TABLE, shown=2).data[0].y) == 2
