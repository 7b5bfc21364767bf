"""A copied denoiser: the same predictions, and no way from it to the model."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.edits import WeightEdit
from workbench.fitting.copies import changes, denoiser_parameters, own_denoiser, own_text_encoder
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player
from workbench.fitting.selectors import DENOISER_SETS, is_cross_attention, select, wanted
from workbench.fitting.training import train
from workbench.models import load
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


@pytest.mark.parametrize("which", DENOISER_SETS)
def test_training_a_student_changes_what_it_trains_alone_and_shares_all_else(tiny_sd1, which):
    before = state_of(tiny_sd1)
    student = own_denoiser(tiny_sd1, wanted(which))
    trained = select(student, which)
    for name, one in denoiser_parameters(student).items():
        assert (one is tiny_sd1.parameter(name)) == (name not in trained)

    def loss(step, generator):
        x = torch.randn(1, 4, 16, 16, generator=generator)
        return (student.noise_prediction(x, 300, tiny_sd1.encode("a fox")) - 1).square().mean()

    train(Player(trained, loss, Plan(steps=2, lr=1e-3, weight_decay=0.1)))
    assert state_of(tiny_sd1) == before
    moved = changes(tiny_sd1, student, denoiser_parameters(student))
    read = {name for name in trained if "time_embedding.cond" not in name}
    assert {name.removesuffix(":delta") for name, delta in moved.items() if delta.any()} == read


def test_sharing_leaves_the_flags_of_the_shared_alone(tiny_sd1):
    bias = tiny_sd1.parameter("unet.conv_in.bias").requires_grad_(True)
    try:
        own_denoiser(tiny_sd1, is_cross_attention)
        assert bias.requires_grad
        own = own_denoiser(tiny_sd1)
        assert bias.requires_grad and not any(one.requires_grad for one in denoiser_parameters(own).values())
    finally:
        bias.requires_grad_(False)


@pytest.mark.parametrize("which", ["esd-x", "esd-u", "full"])
def test_a_student_of_a_model_in_half_precision_learns_in_float32(tiny_sd1, which):
    """Four steps of 1e-5 are below half a unit in the last place of most weights in bfloat16, and are not lost."""
    half = load(tiny_sd1.name, device="cpu", dtype=torch.bfloat16)
    before = state_of(half)
    student = own_denoiser(own_denoiser(half, wanted(which)), wanted(which))  # also a copy of a copy
    trained = select(student, which)
    assert {one.dtype for one in trained.values()} == {torch.float32}
    shared = {one.dtype for name, one in denoiser_parameters(student).items() if name not in trained}
    assert shared == (set() if which == "full" else {torch.bfloat16})
    x = half.noise([0])
    with torch.no_grad():
        exact, got = prediction(tiny_sd1), student.noise_prediction(x, 500, half.encode("a fox"))
    assert got.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    assert_close(got, exact, rtol=0.05, atol=0.05)
    start = {name: one.detach().clone() for name, one in trained.items()}

    def loss(step, generator):
        return (student.noise_prediction(x, 500, half.encode("a fox")) - 1).square().mean()

    train(Player(trained, loss, Plan(steps=4, lr=1e-5, weight_decay=0.0)))
    moved = torch.cat([(one - start[name]).flatten() != 0 for name, one in trained.items()])
    rounded = torch.cat([(one.bfloat16() - start[name].bfloat16()).flatten() != 0 for name, one in trained.items()])
    assert moved.float().mean() > 0.9 and rounded.float().mean() < 0.5
    assert all(delta.dtype == torch.float32 for delta in changes(half, student, trained).values())
    losses = train(Player(trained, loss, Plan(steps=10, lr=1e-3, weight_decay=0.0))).losses
    assert losses[-1] < 0.95 * losses[0] and state_of(half) == before
