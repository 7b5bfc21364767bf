"""Matching of two dictionaries: exact on small ones, blind to order and length."""

from itertools import permutations

import pytest
import torch

from saes.errors import WorkbenchError
from saes.stability import matched, random_directions


def test_the_same_dictionary_in_another_order_and_length_matches_fully():
    torch.manual_seed(0)
    a = torch.randn(12, 5)
    order = torch.randperm(12)
    found = matched(a, a[order] * torch.rand(12, 1))
    assert found.mean == pytest.approx(1) and found.nearest == pytest.approx(1)
    assert torch.equal(order[found.pairs[:, 1]], found.pairs[:, 0])


def test_the_matching_is_the_best_of_all():
    torch.manual_seed(1)
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    cosines = torch.cosine_similarity(a[:, None], b[None], dim=2)
    best = max(sum(float(cosines[i, j]) for i, j in enumerate(order)) / 5 for order in permutations(range(5)))
    found = matched(a, b)
    assert found.mean == pytest.approx(best)
    assert found.nearest == pytest.approx(float(cosines.amax(1).mean())) and found.nearest > found.mean
    torch.testing.assert_close(found.cosines, cosines[found.pairs[:, 0], found.pairs[:, 1]])


def test_the_smaller_dictionary_sets_the_number_of_pairs():
    found = matched(torch.eye(4), torch.eye(4)[[3, 1]])
    assert found.pairs.tolist() == [[1, 1], [3, 0]] and found.mean == pytest.approx(1)


def test_the_random_control_is_far_below_a_real_match_but_not_zero():
    torch.manual_seed(2)
    a = torch.randn(60, 16)
    control = matched(a, random_directions(a, seed=3))
    assert 0.2 < control.mean < 0.7 < matched(a, a + 0.3 * torch.randn(60, 16)).mean
    assert not torch.equal(random_directions(a, 3), random_directions(a, 4))


def test_a_dictionary_without_latents_is_refused():
    with pytest.raises(WorkbenchError, match="no latents to match"):
        matched(torch.randn(0, 4), torch.randn(3, 4))
