"""Figures of attacks show the numbers of their tables: no more conditions, and no other ones."""

import numpy as np
import pandas as pd

from workbench.figures.attacks import attack_bars, budget_curves, transfer_heatmap


def row(condition, attack, pre, post, **more):
    return {
        "condition": condition, "attack": attack, "pre": pre, "post": post, "post_low": post - 0.1,
        "post_high": post + 0.05, "new seeds": 0.3, "at random": np.nan, "ceiling": 0.9, "of_never_known": False,
        **more,
    }  # fmt: skip


TABLE = pd.DataFrame([
    row("unedited", "replay", 0.9, 0.9), row("uce", "replay", 0.1, 0.5), row("esd", "replay", 0.2, 0.2),
    row("uce", "noised", 0.1, 0.8), row("unedited", "noised", 0.0, 0.1, of_never_known=True),
])  # fmt: skip


def test_bars_go_from_before_to_after_with_the_interval_of_after():
    plot = attack_bars(TABLE)
    first, *_ = bars = [trace for trace in plot.data if trace.type == "bar"]
    assert len(bars) == 2 and list(first.y) == ["uce", "esd"]
    np.testing.assert_allclose(np.asarray(first.base, float), [0.1, 0.2])
    np.testing.assert_allclose(np.asarray(first.x, float), [0.4, 0.0])
    np.testing.assert_allclose(np.asarray(first.error_x.array, float), 0.05)
    np.testing.assert_allclose(np.asarray(first.error_x.arrayminus, float), 0.1)
    marks = {trace.name: list(trace.x) for trace in plot.data if trace.type == "scatter" and trace.showlegend}
    assert marks == {"new seeds": [0.3, 0.3], "at random": [], "ceiling": [0.9, 0.9]}


def test_curves_are_stairs_to_the_end_of_the_axis():
    curve = pd.DataFrame([
        {"condition": condition, "attack": "replay", "control": control, "unit": unit, "spent": spent, "asr": asr}
        for condition in ("unedited", "uce") for control in ("", "new seeds", "at random")
        for unit in ("images", "gradients") for spent, asr in ((0, 0.1), (3, 0.6))
    ])  # fmt: skip
    own, luck = budget_curves(curve).data
    assert (own.name, luck.name) == ("replay", "replay, new seeds")
    assert list(own.x) == [0, 3, 3] and list(own.y) == [0.1, 0.6, 0.6] and own.line.shape == "hv"
    assert len(budget_curves(curve, "gradients").data) == 1


def test_a_heatmap_has_a_row_for_who_was_attacked_and_a_column_for_who_was_tried():
    matrix = pd.DataFrame([
        {"made_against": "uce", "tried_on": "uce", "asr": 0.9}, {"made_against": "uce", "tried_on": "esd", "asr": 0.2},
        {"made_against": "esd", "tried_on": "esd", "asr": 0.7},
    ])  # fmt: skip
    (heat,) = transfer_heatmap(matrix).data
    assert list(heat.y) == ["uce", "esd"] and list(heat.x) == ["uce", "esd"]
    np.testing.assert_array_equal(heat.z, [[0.9, 0.2], [np.nan, 0.7]])
