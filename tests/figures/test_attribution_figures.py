"""Figures of attribution show the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from workbench.figures.attribution import effects_against_ablation, feature_flow, feature_overlays, overlap_scores
from workbench.figures.pictures import GAP, overlay


def test_scores_stand_beside_their_controls() -> None:
    rows = [(objects, score, 0.1 * k + 0.3 * n, 0.0, 0.9, 4) for n, objects in enumerate(("1", "all"))
            for k, score in enumerate(("iou", "other_word", "other_picture", "advantage"))]  # fmt: skip
    plot = overlap_scores(pd.DataFrame(rows, columns=["objects", "score", "mean", "low", "high", "n"]))
    assert [trace.name for trace in plot.data] == ["its word", "another word", "its word, another picture"]
    np.testing.assert_allclose(plot.data[1].y, [0.1, 0.4])
    np.testing.assert_allclose(plot.data[1].error_y.array, [0.8, 0.5])
    np.testing.assert_allclose(plot.data[1].error_y.arrayminus, [0.1, 0.4])


def test_each_feature_is_a_dot_at_its_truth() -> None:
    table = pd.DataFrame({"feature": [4, 9], "ablation": [0.1, -0.2], "gradient": [0.3, 0.0]})
    line, dots = effects_against_ablation(table).data
    assert list(line.x) == list(line.y) == [-0.2, 0.3]
    assert (list(dots.x), list(dots.y), list(dots.text)) == ([0.1, -0.2], [0.3, 0.0], [4, 9])


def test_a_feature_has_a_row_and_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(0)
    image, maps = (
        rng.integers(0, 255, (6, 6, 3), dtype=np.uint8),
        rng.random((3, 2, 4, 4)) * np.array([1, 50])[:, None, None],
    )
    plot = feature_overlays(image, maps, [900.0, 500.0, 100.0], ["feature 1", "feature 2"])
    sheet = np.array(plot.data[0].z, dtype=np.uint8)
    np.testing.assert_array_equal(sheet[6 + GAP :, 6 + GAP : 12 + GAP], overlay(image, maps[1, 1] / maps[:, 1].max()))
    assert list(plot.layout.xaxis.ticktext) == ["900", "500", "100"]


def test_edges_lead_from_text_to_picture_as_wide_as_they_are_strong() -> None:
    edges = pd.DataFrame(
        {"source": [5, 5, 7], "target": [1, 2, 2], "weight": [0.4, -0.2, 0.1], "share": [0.8, -0.4, 0.2]}
    )
    *lines, left, right = feature_flow(edges, {"target": {2: "fox"}}).data
    assert [line.line.width for line in lines] == pytest.approx([7 * 0.25, 7 * 0.5, 7.0])
    assert lines[0].line.color == lines[2].line.color != lines[1].line.color
    heights = dict(zip(left.text, left.y, strict=True)), dict(zip(right.text, right.y, strict=True))
    assert list(heights[0]) == ["5", "7"] and list(heights[1]) == ["1", "2 fox"]
    assert (lines[2].y[0], lines[2].y[-1]) == pytest.approx((heights[0]["5"], heights[1]["1"]))
    assert len(feature_flow(edges.iloc[:0]).data) == 2
