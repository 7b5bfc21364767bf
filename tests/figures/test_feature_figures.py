"""Figures of autoencoders show what their arrays and tables hold."""

import numpy as np
import pandas as pd
import pytest

from workbench.figures.features import density_histogram, token_strip, training_curves


def test_every_feature_is_counted_once_and_the_dead_apart() -> None:
    density = np.array([0.0, 0.0, 0.0, 1e-3, 1.2e-3, 0.1, 0.9, 1.0])
    alive, dead = density_histogram(density).data
    assert sum(alive.y) == 5
    assert list(dead.y) == [3]
    counts = dict(zip(np.round(alive.x, 3), alive.y, strict=True))
    assert counts[-2.875] == 2  # 10⁻³ and 1.2·10⁻³ lie in [−3, −2.75)
    assert len(density_histogram(density[3:]).data) == 1


def test_marked_features_get_a_line_at_their_density() -> None:
    shapes = density_histogram(np.array([0.0, 1e-2, 0.5]), marked=[0, 1]).layout.shapes
    assert [shape.x0 for shape in shapes] == [pytest.approx(-2)]  # the dead one has no place on the axis


def test_each_word_stands_on_its_activation() -> None:
    words, values = [["a", "red", "fox"], ["fox"]], [[0.0, 0.2, 3.0], [2.5]]
    strip = token_strip(words, values).data[0]
    np.testing.assert_array_equal(strip.z, [[0, 0.2, 3.0], [2.5, np.nan, np.nan]])
    assert [list(row) for row in strip.text] == [["a", "red", "fox"], ["fox", "", ""]]
    assert strip.zmax == 3.0


def test_a_silent_feature_has_a_strip_too() -> None:
    assert token_strip([["a", "fox"]], [[0.0, 0.0]]).data[0].zmax > 0


def test_each_curve_has_its_panel() -> None:
    log = pd.DataFrame({"step": [0, 10, 20], "loss": [3.0, 2, 1], "l0": [9.0, 8, 8]})
    traces = training_curves(log).data
    assert {trace.name: list(trace.y) for trace in traces} == {"loss": [3, 2, 1], "L0": [9, 8, 8]}
    assert all(list(trace.x) == [0, 10, 20] for trace in traces)
