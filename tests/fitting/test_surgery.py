"""Gradient surgery against projections in float64 by another solver."""

import pytest
import torch
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from workbench.fitting.surgery import clipped, without_conflict


def pair(conflict, shape=(3, 4), seed=0):
    """Two gradients of one tensor whose product has the wanted sign."""
    generator = torch.Generator().manual_seed(seed)
    learn, keep = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    sign = -1 if conflict else 1
    return 0.3 * learn, sign * keep if (learn * keep).sum() > 0 else -sign * keep


@pytest.mark.parametrize("seed", range(5))
def test_equation_1_takes_out_the_component_along_what_is_kept(seed):
    """As least squares finds it: the residual of g on r."""
    learn, keep = pair(True, seed=seed)
    got = without_conflict(learn, keep)
    fitted = torch.linalg.lstsq(keep.reshape(-1, 1), learn.reshape(-1, 1))
    assert_close(got.flatten(), (learn.reshape(-1, 1) - keep.reshape(-1, 1) @ fitted.solution).flatten())
    assert abs(float((got * keep).sum())) < 1e-12 and float((learn * keep).sum()) < -1e-3


@pytest.mark.parametrize("official", [False, True])
def test_without_a_conflict_nothing_changes(official):
    learn, keep = pair(False)
    assert torch.equal(without_conflict(learn, keep, official=official), learn)
    assert torch.equal(without_conflict(learn, torch.zeros_like(keep), official=official), learn)
    none = torch.zeros_like(learn)
    assert torch.equal(without_conflict(none, keep, official=official), none)


@pytest.mark.parametrize("scale", [0.0, 0.4, 1.0])
def test_the_scale_says_how_much_of_it_goes(scale):
    learn, keep = pair(True)
    got = without_conflict(learn, keep, scale)
    assert_close((got * keep).sum(), (1 - scale) * (learn * keep).sum(), rtol=1e-12, atol=1e-12)
    assert scale or torch.equal(got, learn)


def test_the_official_form_adds_the_cosine_whatever_the_length():
    learn, keep = pair(True)
    kappa = cosine_similarity(learn.flatten(), keep.flatten(), dim=0)
    for length in (1.0, 0.01):
        change = without_conflict(length * learn, keep, 0.7, official=True) - length * learn
        assert_close(change, -0.7 * kappa * keep / keep.norm())
        assert_close(change.norm(), 0.7 * kappa.abs())
    short = without_conflict(0.01 * learn, keep, official=True)
    assert (short * keep).sum() > 0, "it pulls at what is kept"


def test_gradients_that_are_the_same_or_opposite_stay_or_vanish():
    learn, _ = pair(True)
    assert torch.equal(without_conflict(learn, learn), learn)
    assert_close(without_conflict(learn, -learn), torch.zeros_like(learn))


def test_gradients_are_clipped_together():
    given = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    got = clipped(given, 1.0)
    assert_close(got, {"a": torch.tensor([0.6, 0.0]), "b": torch.tensor([[0.8]])})
    assert_close(clipped(given, 6.0), given)
    got["a"].zero_()
    assert given["a"][0] == 3.0
    none = {"a": torch.zeros(2)}
    assert_close(clipped(none, 1.0), none)
