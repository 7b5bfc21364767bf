"""A copied denoiser: the same predictions, and no way from it to the model."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.edits import WeightEdit
from workbench.fitting.copies import changes, denoiser_parameters, own_denoiser, own_text_encoder
from workbench.testing.state import state_of


def prediction(model, prompt="a fox"):
    with torch.no_grad():
        return model.noise_prediction(model.noise([0]), 500, model.encode(prompt))


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux"])
def test_a_copy_predicts_the_same_and_shares_all_but_the_denoiser(tiny, kind):
    model = tiny(kind)
    twin = own_denoiser(model)
    assert twin.fingerprint == model.fingerprint
    assert_close(prediction(model), prediction(twin))  # not bit by bit: kernels differ with the alignment of weights
    path = model.architecture.denoiser.path
    for name, part in model.pipe.components.items():
        assert (twin.pipe.components[name] is part) == (name != path)
    memory = {parameter.data_ptr() for parameter in denoiser_parameters(model).values()}
    assert memory.isdisjoint(parameter.data_ptr() for parameter in denoiser_parameters(twin).values())


def test_changing_the_copy_never_changes_the_model(tiny_sd1):
    before, twin = state_of(tiny_sd1), own_denoiser(tiny_sd1)
    names = denoiser_parameters(twin, lambda name: ".attn1." in name)
    for parameter in names.values():
        parameter.data += 0.1
    assert state_of(tiny_sd1) == before
    assert not torch.equal(prediction(tiny_sd1), prediction(twin))
    edit = WeightEdit(tensors=changes(tiny_sd1, twin, names), settings={}, method="none", concepts=["fox"],
                      base_fingerprint=tiny_sd1.fingerprint)  # fmt: skip
    assert edit.names == sorted(names) and names
    with tiny_sd1.edited(edit):
        assert_close(prediction(tiny_sd1), prediction(twin))


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_a_copied_text_encoder_is_the_one_that_the_copy_encodes_with(tiny, kind):
    model = tiny(kind)
    before, twin = state_of(model), own_text_encoder(model)
    plain = model.encode("a fox")
    assert torch.equal(twin.encode("a fox").embeddings, plain.embeddings)
    for parameter in twin.pipe.text_encoder.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    moved = twin.encode("a fox")
    assert not torch.equal(moved.embeddings, plain.embeddings)
    assert torch.equal(model.encode("a fox").embeddings, plain.embeddings) and state_of(model) == before


def test_a_copy_of_an_edited_model_has_the_edited_weights_and_none_of_its_hooks(tiny_sd1):
    name = next(iter(tiny_sd1.prompt_maps()))
    delta = torch.ones_like(tiny_sd1.parameter(name))
    edit = WeightEdit(tensors={f"{name}:delta": delta}, settings={}, method="none", concepts=["fox"],
                      base_fingerprint=tiny_sd1.fingerprint)  # fmt: skip
    with tiny_sd1.edited(edit):
        twin = own_denoiser(tiny_sd1)
    assert torch.equal(twin.parameter(name), tiny_sd1.parameter(name) + delta)
    assert not twin.pipe.unet._forward_hooks and not twin.pipe.unet._forward_pre_hooks


def test_a_denoiser_with_hooks_is_not_copied(tiny_sd1):
    with pytest.raises(WorkbenchError, match="hooks in the unet"), tiny_sd1.session(record=["unet.mid"]):
        own_denoiser(tiny_sd1)
