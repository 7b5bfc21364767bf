"""Figures of what changes inside show the numbers of their tables, in the order of the model."""

import math

import numpy as np
import pandas as pd

from workbench.figures.inside import FATES, attention_moved, change_by_layer, change_map, feature_fates


def change(factor: float = 1.0) -> pd.DataFrame:
    rows = [("text.1", 0, math.nan, 0.1), ("text.0", 0, math.nan, 0.0)]
    rows += [(site, step, 900.0 - 300 * step, 0.1 * step + (site == "unet.out")) for step in range(3)
             for site in ("unet.mid", "unet.out")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["site", "step", "timestep", "relative"])
    table["relative"] *= factor
    table["part"] = np.where(table["timestep"].isna(), "prompt", "picture")
    return table.assign(low=table["relative"] - 0.01, high=table["relative"] + 0.02, n=2)


def test_the_map_has_layers_down_and_steps_across_on_one_scale() -> None:
    text, pictures = change_map(change()).data
    np.testing.assert_allclose(text.z, [[0.1], [0.0]])
    assert list(text.y) == ["text.1", "text.0"] and list(pictures.y) == ["unet.mid", "unet.out"]
    np.testing.assert_allclose(pictures.z, [[0.0, 0.1, 0.2], [1.0, 1.1, 1.2]])
    assert list(pictures.x) == ["900", "600", "300"]
    assert text.zmax == pictures.zmax == 1.2 and text.zmin == pictures.zmin == 0


def test_nothing_changed_is_white_all_over() -> None:
    for heat in change_map(change(0.0)).data:
        assert heat.zmax > 0 and not np.any(heat.z)


def test_edits_lie_side_by_side_by_layer() -> None:
    plot = change_by_layer({"no-op": change(0.0), "uce": change()})
    lines = {trace.name: trace for trace in plot.data if trace.name}
    assert list(lines["uce"].x) == ["text.1", "text.0", "unet.mid", "unet.out"]
    np.testing.assert_allclose(lines["uce"].y, [0.1, 0.0, 0.1, 1.1])
    np.testing.assert_allclose(lines["no-op"].y, 0)
    band = plot.data[2]
    np.testing.assert_allclose(band.y[:4], np.array(lines["uce"].y) + 0.02)
    np.testing.assert_allclose(band.y[4:], (np.array(lines["uce"].y) - 0.01)[::-1])


def test_each_feature_has_one_fate() -> None:
    features = pd.DataFrame({
        "site": ["text.2"] * 3 + ["unet.mid"], "feature": [4, 5, 6, 7], "before": [1.0, 0.0, 2.0, 3.0],
        "after": [0.0, 2.0, 1.0, 3.0], "fires_before": [0.5, 0.0, 0.2, 0.1], "fires_after": [0.0, 0.1, 0.2, 0.1],
    })  # fmt: skip
    shown = {fate: [] for fate in FATES}
    for trace in feature_fates(features).data:
        if trace.name:
            shown[trace.name] += list(zip(trace.text, trace.x, trace.y, strict=True))
    assert shown == {"died": [(4, 1.0, 0.0)], "born": [(5, 0.0, 2.0)], "kept": [(6, 2.0, 1.0), (7, 3.0, 3.0)]}
    assert not feature_fates(features.iloc[:0]).data


def test_attention_is_the_mean_over_layers_token_by_token() -> None:
    rows = [(site, "a fox", place, token, 0.1 * place + shift, 0.2) for site, shift in (("x", 0.0), ("y", 0.2))
            for place, token in enumerate(["⟨start⟩", "a", "fox"])]  # fmt: skip
    table = pd.DataFrame(rows, columns=["site", "prompt", "position", "token", "before", "after"])
    before, after = (trace for trace in attention_moved(table).data if trace.name)
    np.testing.assert_allclose(before.y, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(after.y, 0.2)
    assert list(before.text) == ["⟨start⟩", "a", "fox"]


def test_a_sequence_of_text_and_picture_shows_its_parts_and_then_the_rows_of_the_picture() -> None:
    parts = [("text", 0), ("begin of image", 0), ("picture", 0), ("picture", 1)]
    rows = [(site, *part, math.nan, 0.1 * n) for site in ("lm.0", "lm.1") for n, part in enumerate(parts)]
    plot = change_map(pd.DataFrame(rows, columns=["site", "part", "step", "timestep", "relative"]))
    text, pictures = plot.data
    assert list(text.x) == ["text", "begin of image"] and list(pictures.x) == ["1", "2"]
    np.testing.assert_allclose(text.z, [[0.0, 0.1]] * 2)
    np.testing.assert_allclose(pictures.z, [[0.2, 0.3]] * 2)
    assert plot.layout.xaxis2.title.text == "row of the picture"
