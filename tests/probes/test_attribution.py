"""Attention and feature maps against numbers derived by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.testing import assert_close

from probes.attribution import (
    activation_by_word,
    feature_maps,
    rank_agreement,
    square_grid,
    token_maps,
)
from saes.errors import WorkbenchError


def probabilities(calls: int, rows: int, pixels: int, tokens: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(calls, rows, pixels, tokens, generator=draw, dtype=torch.float64).softmax(-1)


def test_maps_average_calls_and_sites_and_keep_the_pixel_order():
    first = torch.zeros(2, 1, 4, 2)
    first[0, 0, :, 0] = torch.tensor([0.0, 0.2, 0.4, 0.6])  # one call lights token 0, the other does not
    second = torch.full((1, 1, 4, 2), 0.5)
    maps = token_maps([first, second], size=2)
    assert_close(maps[0, 0], torch.tensor([[0.25, 0.30], [0.35, 0.40]]))
    assert_close(maps[0, 1], torch.full((2, 2), 0.25))


def test_sites_of_different_size_weigh_the_same():
    small, large = torch.full((1, 1, 1, 1), 0.2), torch.full((3, 1, 16, 1), 0.6)
    assert_close(token_maps([small, large], size=4), torch.full((1, 1, 4, 4), 0.4))


def test_shares_still_sum_to_one_after_resizing():
    maps = token_maps([probabilities(2, 3, 16, 5), probabilities(2, 3, 64, 5, seed=1)], size=8)
    assert_close(maps.sum(dim=1), torch.ones(3, 8, 8, dtype=torch.float64))
    assert maps.min() >= 0


def test_enlarging_interpolates_between_pixel_centres():
    site = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 4, 1)
    assert_close(token_maps([site], size=4)[0, 0, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))


def test_other_shapes_need_their_grid():
    site = torch.arange(6.0).reshape(1, 1, 6, 1)
    with pytest.raises(WorkbenchError, match="no square"):
        token_maps([site], size=2)
    with pytest.raises(WorkbenchError, match="do not fill"):
        token_maps([site], size=2, grids=[(2, 2)])
    wide = token_maps([site.repeat_interleave(1, 0)], size=6, grids=[(1, 6)])
    assert_close(wide[0, 0, 3], torch.arange(6.0))


def test_a_feature_card_lists_the_mean_on_each_word_without_padding():
    activations = [torch.tensor([0.0, 3.0, 1.0, 9.0]), torch.tensor([0.0, 1.0, 0.0, 9.0])]
    tokens = [["a", "fox", "runs"], ["a", "fox"]]
    assert activation_by_word(activations, tokens) == [("fox", 2.0), ("runs", 1.0)]


def test_features_of_an_image_site_land_on_their_pixels():
    z = torch.zeros(1, 4, 3)
    z[0, 2, 1] = 5.0
    assert_close(feature_maps(z, [1, 0], size=2), torch.tensor([[[[0.0, 0.0], [5.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]))


def test_a_square_is_recognised():
    assert square_grid(64) == (8, 8)


def test_rank_agreement_is_spearmans_and_its_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + 0.4 * rng.normal(size=40)
    found = rank_agreement(x, y)
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    assert found.low < found.rho < found.high < 1
    assert 0.15 < found.shuffled < 0.45 < found.low  # 1.96/√39 = 0.31 for no relation at all
    assert rank_agreement(x, np.exp(x)).rho == pytest.approx(1.0)
    assert rank_agreement(x, -x).rho == pytest.approx(-1.0)
    assert np.isnan(rank_agreement(x, np.zeros(40)).rho)
    with pytest.raises(WorkbenchError, match="2 features"):
        rank_agreement(x[:2], x[:2])
