"""The map of decodability holds its table."""

import numpy as np
import pandas as pd

from workbench.figures.probing import decodability_map


def table() -> pd.DataFrame:
    rows = [("text.3", 0, np.nan, 0.9), ("text.0", 0, np.nan, 1.0)]
    rows += [("unet.mid", 0, 801.0, 0.6), ("unet.mid", 1, 801.0, 0.7), ("unet.mid", 2, 1.0, 0.8)]  # as PNDM calls
    frame = pd.DataFrame(rows, columns=["site", "step", "timestep", "accuracy"])
    frame["part"] = np.where(frame.timestep.isna(), "prompt", "picture")
    return frame.assign(low=frame.accuracy - 0.1, high=frame.accuracy + 0.05, control=0.5)


def test_text_and_steps_stand_side_by_side_in_the_order_of_the_table():
    text, pictures = decodability_map(table()).data
    assert list(text.y) == ["text.3", "text.0"] and text.z.tolist() == [[0.9], [1.0]]
    assert pictures.z.tolist() == [[0.6, 0.7, 0.8]]
    np.testing.assert_allclose(pictures.customdata[0, 1], [0.6, 0.75, 0.5])
    assert (text.zmin, text.zmax) == (pictures.zmin, pictures.zmax) == (0.5, 1)


def test_two_calls_of_one_timestep_keep_their_own_columns():
    plot = decodability_map(table())
    assert list(plot.data[1].x) == [0, 1, 2] and list(plot.layout.xaxis2.ticktext) == ["801", "801", "1"]
    assert list(plot.layout.xaxis.ticktext) == ["prompt"]


def test_text_alone_and_pictures_alone_fill_the_figure():
    both = table()
    for part in (both[both.timestep.isna()], both[both.timestep.notna()]):
        (heatmap,) = decodability_map(part).data
        assert heatmap.showscale and heatmap.z.size == len(part)


def test_a_sequence_of_text_and_picture_shows_its_parts_and_then_the_rows_of_the_picture():
    parts = [("text", 0), ("begin of image", 0), ("picture", 0), ("picture", 1)]
    rows = [(site, *part, np.nan, 0.5 + 0.1 * n) for site in ("lm.0", "lm.1") for n, part in enumerate(parts)]
    frame = pd.DataFrame(rows, columns=["site", "part", "step", "timestep", "accuracy"])
    plot = decodability_map(frame.assign(low=0.4, high=0.9, control=0.5))
    assert list(plot.layout.xaxis.ticktext) == ["text", "begin of image"]
    assert list(plot.layout.xaxis2.ticktext) == ["1", "2"] and plot.layout.xaxis2.title.text == "row of the picture"
    np.testing.assert_allclose(plot.data[0].z, [[0.5, 0.6]] * 2)
    np.testing.assert_allclose(plot.data[1].z, [[0.7, 0.8]] * 2)
