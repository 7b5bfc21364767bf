"""Figures of the logit lens show the numbers of their tables and arrays."""

import numpy as np
import pandas as pd

from workbench.figures.lens import MEASURES, lens_by_layer, lens_cells, lens_depths, lens_pictures
from workbench.figures.pictures import GAP, overlay

SITES = ["lm.in", "lm.0"]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (2, 2, 6, 6, 3), dtype=np.uint8)


def test_a_layer_stands_beside_its_controls():
    rows = [(site, measure, 1.0 + n, 0.5 + n, 2.0 + n, 3.0 + n, 4.0 + n)
            for measure in MEASURES for n, site in enumerate(SITES)]  # fmt: skip
    columns = ["site", "measure", "value", "low", "high", "other_picture", "other_cell"]
    plot = lens_by_layer(pd.DataFrame(rows, columns=columns))
    assert len(plot.data) == 3 * len(MEASURES)
    assert [trace.name for trace in plot.data if trace.showlegend] == [
        "the layer", "another prompt's picture", "another cell",
    ]  # fmt: skip
    assert [list(trace.y) for trace in plot.data[:3]] == [[1, 2], [3, 4], [4, 5]]
    np.testing.assert_allclose(plot.data[0].error_y.array, [1, 1])
    assert plot.layout.yaxis3.type == "log", "ranks"


def test_a_cell_is_a_column_and_says_where_it_lies():
    values = {"own": RNG.random((2, 9)), "control": RNG.random((2, 9))}
    plot = lens_cells(values, SITES, "nats")
    heat, control = plot.data
    np.testing.assert_allclose(heat.z, values["own"])
    np.testing.assert_allclose(control.z, values["control"])
    assert heat.coloraxis == control.coloraxis and plot.layout.annotations[1].text == "control"
    assert list(heat.y) == SITES and heat.text[0][5] == "row 2, column 3"


def test_the_layers_pictures_lie_side_by_side():
    plot = lens_pictures(IMAGES, ["a fox", "a cat"], SITES)
    sheet = np.array(plot.data[0].z, dtype=np.uint8)
    np.testing.assert_array_equal(sheet[6 + GAP :, 6 + GAP :], IMAGES[1, 1])
    assert list(plot.layout.xaxis.ticktext) == SITES


def test_depth_is_a_share_of_the_layers():
    decided = np.array([[0.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 3.0]])  # 3: none of three sites
    sheet = np.array(lens_depths(IMAGES[0], decided, ["a fox", "a cat"], 3).data[0].z, dtype=np.uint8)
    np.testing.assert_array_equal(sheet[:6, :6], overlay(IMAGES[0, 0], np.array([[0, 0.5], [1, 1]])))
    np.testing.assert_array_equal(sheet[:6, 6 + GAP :], overlay(IMAGES[0, 1], np.array([[0.5, 0.5], [0.5, 1]])))
