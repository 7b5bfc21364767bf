"""The resize augmentation: what the mask covers is picture, and sizes and words have the published chances."""

from collections import Counter

import numpy as np
import pytest
import torch

from workbench.fitting.resizing import GREY, enlarged, resized, shrunk

SIZE, FACTOR = 48, 4
RED = np.full((SIZE, SIZE, 3), 250, np.uint8)


def of(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [16, 21, 33, 48])
def test_every_latent_of_the_mask_sees_only_picture_and_one_more_on_each_side(side):
    for seed in range(20):
        image, mask, _ = shrunk(RED, side, FACTOR, of(seed))
        assert (image == 250).all(axis=2).sum() == side**2 and ((image == 250) | (image == GREY)).all()
        rows, columns = torch.nonzero(mask[0], as_tuple=True)
        assert len(rows) > 0
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            around = image[
                (row - 1) * FACTOR + FACTOR - 1 : (row + 2) * FACTOR, column * FACTOR : (column + 1) * FACTOR
            ]
            assert (around == 250).all()


def test_a_larger_picture_is_a_part_of_itself_and_all_of_it_counts():
    ramp = np.repeat(np.arange(SIZE, dtype=np.uint8)[:, None, None], SIZE, 1).repeat(3, 2) * 5
    image, mask, words = enlarged(ramp, 60, FACTOR, of(0))
    assert image.shape == ramp.shape and bool((mask == 1).all()) and words in ("zoomed in ", "close up ")
    steps = np.diff(image[8:-8, 0, 0].astype(float))
    assert abs(steps.mean() - 5 * SIZE / 60) < 0.2


def test_sizes_and_words_have_the_published_chances():
    n = 2000
    generator = of(0)
    views = [resized(RED, FACTOR, generator) for _ in range(n)]
    words = Counter(view.words for view in views)
    sides = [round((view.image == 250).all(axis=2).sum() ** 0.5) for view in views if bool((view.mask == 0).any())]
    small = 0.66 * sum(side < 0.6 * SIZE for side in range(16, 49)) / 33
    for word, p in (("a far away ", small / 2), ("very small ", small / 2), ("zoomed in ", 0.17), ("close up ", 0.17)):
        assert abs(words[word] / n - p) < 4 * (p * (1 - p) / n) ** 0.5
    assert min(sides) == 16 and max(sides) == 48
    assert all(
        (side < 0.6 * SIZE) == (view.words in ("a far away ", "very small "))
        for side, view in zip(sides, [v for v in views if bool((v.mask == 0).any())], strict=True)
    )


def test_a_picture_of_few_latents_never_vanishes():
    generator = of(1)
    assert all(bool(resized(RED[:24, :24], 8, generator).mask.any()) for _ in range(50))
