"""Contact sheets and heat maps show every picture where its labels say."""

import numpy as np
import pytest

from workbench.figures.pictures import GAP, attention_overlays, contact_sheet, heat_colours, overlay, tile


def images(rows: int = 2, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (rows, columns, 5, 7, 3), dtype=np.uint8)


def test_each_picture_lies_in_its_row_and_column_between_white_gaps() -> None:
    some = images()
    sheet = tile(some)
    assert sheet.shape == (2 * 5 + GAP, 3 * 7 + 2 * GAP, 3)
    np.testing.assert_array_equal(sheet[5 + GAP :, 7 + GAP : 14 + GAP], some[1, 1])
    assert (sheet[5 : 5 + GAP] == 255).all()


def test_labels_stand_at_the_middle_of_their_pictures() -> None:
    plot = contact_sheet(images(), ["before", "after"], ["a", "b", "c"])
    assert list(plot.layout.yaxis.ticktext) == ["before", "after"]
    assert list(plot.layout.yaxis.tickvals) == [2.5, 2.5 + 5 + GAP]
    assert list(plot.layout.xaxis.tickvals) == [3.5, 3.5 + 7 + GAP, 3.5 + 2 * (7 + GAP)]
    np.testing.assert_array_equal(np.array(plot.data[0].z, dtype=np.uint8), tile(images()))


def test_without_heat_only_the_grey_picture_is_seen() -> None:
    image = images()[0, 0]
    plain = overlay(image, np.zeros((2, 2)))
    assert (plain[..., 0] == plain[..., 1]).all() and (plain[..., 1] == plain[..., 2]).all()
    order = np.argsort(image.mean(axis=-1), axis=None)
    assert (np.diff(plain[..., 0].ravel()[order].astype(int)) >= 0).all()  # as light as the image was


def test_heat_reddens_where_it_is_and_nowhere_else() -> None:
    image = np.full((8, 8, 3), 128, np.uint8)
    heat = np.zeros((8, 8))
    heat[:4] = 1
    hot, cold = overlay(image, heat)[1, 4], overlay(image, heat)[6, 4]
    assert int(hot[0]) - int(hot[2]) > 60
    assert cold[0] == cold[1] == cold[2]


def test_more_heat_is_a_darker_colour() -> None:
    lightness = heat_colours(np.linspace(0, 1, 50)).mean(axis=-1)
    assert (np.diff(lightness) < 0).all()
    np.testing.assert_allclose(heat_colours(np.array([0.0, 1.0])), [[255, 255, 255], [0x8F, 0x1D, 0x1D]])


def test_the_overlays_are_tiled_like_the_images() -> None:
    some, maps = images(), np.random.default_rng(1).random((2, 3, 2, 2))
    shown = np.array(attention_overlays(some, maps, ["before", "after"]).data[0].z, dtype=np.uint8)
    np.testing.assert_array_equal(shown[5 + GAP :, :7], overlay(some[1, 0], maps[1, 0]))
    assert shown.shape == pytest.approx(tile(some).shape)
