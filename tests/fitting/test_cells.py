"""Boxes as cells and as weights: the equations of Geom-Erasing against counting pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from workbench.fitting.cells import covered, fullest, weights
from workbench.fitting.cutting import Cut, drawn_cut

SIZE, GRID = 48, 4


@st.composite
def boxes(draw, size=SIZE):
    found = []
    for _ in range(draw(st.integers(0, 3))):
        (left, right), (top, bottom) = (sorted(draw(st.tuples(*[st.integers(0, size - 1)] * 2))) for _ in range(2))
        found.append([left, top, right, bottom])
    return np.array(found, np.int64).reshape(-1, 4)


def pixels(found, size=SIZE):
    mask = np.zeros((size, size), bool)
    for left, top, right, bottom in found:
        mask[top : bottom + 1, left : right + 1] = True
    return mask


def test_the_example_of_the_paper_and_a_box_on_the_border():
    assert covered(np.array([[100, 0, 511, 127]]), 512, 4).nonzero().tolist() == [[0, m] for m in range(4)]
    assert covered(np.array([[500, 500, 512, 512]]), 512, 4).nonzero().tolist() == [[3, 3]]  # an edge at W is clamped
    assert not covered(np.zeros((0, 4), int), 512, 4).any()


@settings(max_examples=40, deadline=None)
@given(boxes())
def test_a_cell_is_covered_if_and_only_if_a_pixel_of_it_is(found):
    by_pixels = pixels(found).reshape(GRID, SIZE // GRID, GRID, SIZE // GRID).any((1, 3))
    assert np.array_equal(covered(found, SIZE, GRID).numpy(), by_pixels)


@settings(max_examples=40, deadline=None)
@given(boxes(), st.integers(0, 17))
def test_the_cells_that_are_kept_are_those_that_boxes_fill_most(found, most):
    filled = pixels(found).reshape(GRID, SIZE // GRID, GRID, SIZE // GRID).sum((1, 3))
    kept = fullest(found, SIZE, GRID, most)
    assert len(kept) == min(most, int((filled > 0).sum()))
    assert kept == sorted(kept, key=lambda cell: (cell[1], cell[0])), "row by row"
    left_out = [filled[n, m] for n in range(GRID) for m in range(GRID) if (m, n) not in kept]
    assert not kept or min(filled[n, m] for m, n in kept) >= max(left_out, default=0)


@settings(max_examples=40, deadline=None)
@given(boxes(), st.floats(1, 20), st.sampled_from([4, 12, 16]))
def test_weights_sum_to_their_number_and_weigh_the_outside_more(found, alpha, side):
    cells = covered(found, SIZE, GRID)
    w = weights(cells, side, alpha)
    inside = cells.repeat_interleave(side // GRID, 0).repeat_interleave(side // GRID, 1)
    assert w.dtype == torch.float64 and w.shape == (side, side)
    assert_close(w.sum(), torch.tensor(float(side**2), dtype=torch.float64))
    if inside.any() and not inside.all():
        assert_close(w[~inside].min() / w[inside].max(), torch.tensor(alpha, dtype=torch.float64))
    else:
        assert_close(w, torch.ones_like(w))


def test_alpha_1_weighs_all_alike():
    assert_close(weights(covered(np.array([[0, 0, 20, 20]]), SIZE, GRID), 16, 1.0), torch.ones(16, 16).double())


@settings(max_examples=40, deadline=None)
@given(boxes())
def test_the_cells_of_a_mirrored_picture_are_the_mirrored_cells(found):
    turned = Cut(0, 0, SIZE, flipped=True).boxes(found, SIZE)
    assert torch.equal(covered(turned, SIZE, GRID), covered(found, SIZE, GRID).flip(1))


@pytest.mark.parametrize("cut", [Cut(8, 4, 24), Cut(8, 4, 24, True), Cut(0, 0, 48), Cut(20, 10, 16, True)])
@settings(max_examples=40, deadline=None)
@given(found=boxes())
def test_a_box_goes_where_its_pixels_go(cut, found):
    """Boxes of the square, against boxes drawn as pixels that are cut out and mirrored, at twice the size."""
    image = np.repeat(pixels(found)[..., None], 3, 2).astype(np.uint8) * 255
    part = image[cut.top : cut.top + cut.side, cut.left : cut.left + cut.side]
    expected = np.kron(part[:, ::-1] if cut.flipped else part, np.ones((2, 2, 1)))[..., 0] > 0
    assert np.array_equal(pixels(cut.boxes(found, 2 * cut.side), 2 * cut.side), expected)


def test_a_picture_is_cut_as_its_boxes_are():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:45] = 200
    cut = Cut(20, 0, 40, True)
    (left, top, right, bottom) = cut.boxes(np.array([[30, 10, 44, 19]]), 40)[0]
    made = cut.picture(image, 40)
    assert (made[top : bottom + 1, left : right + 1] == 200).all() and made.sum() == 10 * 15 * 3 * 200
    half = cut.picture(image, 20)
    assert half.shape == (20, 20, 3) and cut.boxes(np.array([[30, 10, 44, 19]]), 20).tolist() == [[7, 5, 14, 9]]


def test_what_is_cut_off_is_gone_and_what_is_enlarged_or_shrunk_is_covered():
    cut = Cut(10, 10, 10)
    assert cut.boxes(np.array([[0, 0, 9, 40], [0, 0, 10, 10]]), 10).tolist() == [[0, 0, 0, 0]]
    assert cut.boxes(np.array([[13, 13, 13, 13]]), 3).tolist() == [[0, 0, 1, 1]]  # pixels 0.9 to 1.2 of three
    assert cut.boxes(np.zeros((0, 4), int), 10).shape == (0, 4)


def test_cuts_are_the_middle_or_drawn_inside_the_picture():
    generator = torch.Generator().manual_seed(0)
    assert drawn_cut(40, 60, 1.0, False, generator) == Cut(10, 0, 40)
    cuts = [drawn_cut(40, 60, 0.5, True, generator) for _ in range(200)]
    assert all(0 <= c.left <= 60 - c.side and 0 <= c.top <= 40 - c.side and 20 <= c.side <= 40 for c in cuts)
    assert len({c.side for c in cuts}) > 15 and 60 < sum(c.flipped for c in cuts) < 140
