"""The discriminator of patches: its layers as published, its losses by hand."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from workbench.fitting.discriminator import Discriminator, discriminating, fooling, halvings


def test_at_64_it_is_the_published_network():
    made = Discriminator(4, 64, seed=0)
    shapes = [tuple(one.weight.shape) for one in made.modules() if isinstance(one, nn.Conv2d)]
    assert shapes == [(64, 4, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1, 512, 4, 4)]
    norms = [one.num_features for one in made.modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms == [128, 256, 512]
    assert made(torch.randn(2, 4, 64, 64)).shape == (2, 1, 3, 3)


@pytest.mark.parametrize(("side", "logits"), [(6, 2), (12, 2), (16, 3), (32, 3), (96, 5), (128, 7)])
def test_narrower_latents_are_halved_less_often(side, logits):
    assert Discriminator(4, side, seed=0)(torch.randn(2, 4, side, side)).shape == (2, 1, logits, logits)
    assert halvings(side) == {6: 1, 12: 2, 16: 2, 32: 3}.get(side, 4)


def test_its_weights_are_those_of_its_seed_and_torchs_own_numbers_go_on():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (Discriminator(4, 16, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, again[name]) for name, one in first.items())
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_it_looks_at_each_batch_by_itself_and_carries_nothing():
    """Batch statistics alone: no buffer would have to be in a checkpoint."""
    made = Discriminator(4, 16, seed=0)
    assert not list(made.buffers())
    x = torch.randn(3, 4, 16, 16)
    before = made(x)
    made(100 + torch.randn(3, 4, 16, 16))
    assert torch.equal(made(x), before)


def test_one_that_knows_nothing_loses_ln_2_a_question():
    nothing = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    assert float(discriminating(nothing, nothing)) == pytest.approx(2 * math.log(2), rel=1e-12)
    assert float(fooling(nothing)) == pytest.approx(math.log(2), rel=1e-12)


def test_losses_are_the_mean_logarithm_of_what_should_have_been_said():
    made_up, real = torch.randn(2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    says = torch.sigmoid  # how sure it is that something is made up
    assert_close(discriminating(made_up, real), -says(made_up).log().mean() - (1 - says(real)).log().mean())
    assert_close(fooling(made_up), -(1 - says(made_up)).log().mean())
