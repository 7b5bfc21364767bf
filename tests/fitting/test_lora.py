"""Adapters on a denoiser of one's own: nothing changes before training, and factors say all that changed after it."""

import pytest
import torch
from torch.testing import assert_close

from workbench.edits import WeightEdit
from workbench.edits.weight import LEFT, RIGHT
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.lora import attach, factors
from workbench.testing.state import state_of


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def prediction(model):
    with torch.no_grad():
        return model.noise_prediction(model.noise([0]), 500, model.encode("a fox"))


@pytest.fixture
def own(tiny_sd1):
    return own_denoiser(tiny_sd1)


def test_new_adapters_change_no_bit_and_trained_ones_do(tiny_sd1, own):
    before, state, plain = prediction(own), torch.get_rng_state(), state_of(tiny_sd1)
    adapters = attach(own, list(tiny_sd1.prompt_maps()), 2, generator())
    assert torch.equal(prediction(own), before) and torch.equal(torch.get_rng_state(), state)
    next(iter(adapters.values())).left.data += 0.1
    assert not torch.equal(prediction(own), before)
    assert state_of(tiny_sd1) == plain


def test_the_first_factor_is_drawn_from_the_generator_alone(tiny_sd1, own):
    names = list(tiny_sd1.prompt_maps())
    torch.manual_seed(3)
    first = factors(attach(own, names, 2, generator(1)))
    again = factors(attach(own_denoiser(tiny_sd1), names, 2, generator(1)))
    other = factors(attach(own_denoiser(tiny_sd1), names, 2, generator(2)))
    for name in names:
        left, right = first[name]
        assert left.shape == (tiny_sd1.parameter(name).shape[0], 2) and not left.any()
        assert right.shape == (2, 16) and 0.2 < right.abs().max() < 1 / 16**0.5 and right.min() < 0 < right.max()
        assert torch.equal(right, again[name][1]) and not torch.equal(right, other[name][1])


def test_merged_weights_predict_as_the_adapters_do(tiny_sd1, own):
    before = prediction(own)
    adapters = attach(own, list(tiny_sd1.prompt_maps())[:2], 3, generator())
    for adapter in adapters.values():
        adapter.left.data.copy_(torch.randn(adapter.left.shape, generator=generator()))
    tensors = {}
    for name, (left, right) in factors(adapters).items():
        tensors |= {name + LEFT: left, name + RIGHT: right}
    edit = WeightEdit(tensors=tensors, settings={}, method="none", concepts=["fox"],
                      base_fingerprint=tiny_sd1.fingerprint)  # fmt: skip
    assert len(edit.names) == 2
    with tiny_sd1.edited(edit):
        assert_close(prediction(tiny_sd1), prediction(own), atol=1e-5, rtol=1e-5)
    assert (prediction(own) - before).abs().max() > 1e-3


def test_only_adapters_can_be_trained_and_only_on_the_maps_that_were_named(tiny_sd1, own):
    names = list(tiny_sd1.prompt_maps())[:1]
    attach(own, names, 1, generator())
    added = [name for name in denoiser_parameters(own) if "lora" in name]
    assert len(added) == 2 and all(name.startswith(names[0].removesuffix(".weight")) for name in added)
    assert not any(parameter.requires_grad for parameter in denoiser_parameters(own).values())
