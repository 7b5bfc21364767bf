"""Saving memory: less is kept for the backward pass, idle parts are away, and the edit is the same."""

from contextlib import nullcontext

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close

from workbench.concepts import Concept
from workbench.erasure.esd import ESD
from workbench.fitting.copies import own_denoiser, own_text_encoder
from workbench.fitting.memory import idle_parts, saving_memory
from workbench.fitting.selectors import is_cross_attention, select
from workbench.models import load
from workbench.testing.state import state_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def saved_bytes(student, encoding, inside):
    """What a forward pass keeps for its backward pass, each tensor once, and the gradients that come of it."""
    kept, trained = {}, select(student, is_cross_attention)

    def note(x):
        kept[x.data_ptr(), x.nbytes] = x  # held, so that no other tensor takes its place
        return x

    for one in trained.values():
        one.requires_grad_(True)
    with inside, saved_tensors_hooks(note, lambda x: x):
        student.noise_prediction(student.noise([0]), 500, encoding).square().mean().backward()
    gradients = [one.grad.clone() for one in trained.values()]
    for one in trained.values():
        one.requires_grad_(False)
        one.grad = None
    return sum(one.nbytes for one in kept.values()), gradients


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_less_is_kept_for_the_backward_pass_which_gives_the_same_gradients(tiny, kind):
    model = tiny(kind)
    student, encoding = own_denoiser(model, is_cross_attention), model.encode("a fox")
    plain, gradients = saved_bytes(student, encoding, nullcontext())
    saved, again = saved_bytes(student, encoding, saving_memory(model, student))
    assert saved < 0.5 * plain
    assert_close(again, gradients)
    same, _ = saved_bytes(student, encoding, saving_memory(model, student, wanted=False))
    assert same == plain


@pytest.mark.parametrize("sampler", ["student", "frozen"])
def test_the_edit_is_the_same_and_the_model_as_before(tiny_sd1, sampler):
    before = state_of(tiny_sd1)
    how = {"iterations": 4, "steps": 3, "trajectories": 2, "lr": 1e-3, "sampler": sampler}
    plain = ESD(**how).fit(tiny_sd1, [Concept("fox")])
    saved = ESD(**how, save_memory=True).fit(tiny_sd1, [Concept("fox")])
    for name in plain.names:
        assert_close(saved.delta(name), plain.delta(name), rtol=0, atol=1e-6)
    assert state_of(tiny_sd1) == before and any(plain.delta(name).abs().max() > 1e-3 for name in plain.names)


def test_idle_parts_are_on_the_cpu_meanwhile_and_prompts_can_still_be_encoded(tiny_sdxl):
    model = load(tiny_sdxl.name, device=DEVICE, dtype=torch.float32)
    student, encoding = own_denoiser(model), model.encode("a fox")
    parts = [model.pipe.vae, model.pipe.text_encoder, model.pipe.text_encoder_2]
    assert idle_parts(model, student) == parts
    assert idle_parts(model, own_text_encoder(model))[-1] is not parts[1], "a student's own encoder too"
    with pytest.raises(KeyboardInterrupt), saving_memory(model, student):
        assert {part.device.type for part in parts} == {"cpu"} and model.device.type == DEVICE
        assert student.pipe.unet.is_gradient_checkpointing and not model.pipe.unet.is_gradient_checkpointing
        again = model.encode("a fox")
        assert again.embeddings.device.type == DEVICE
        assert_close(again.embeddings, encoding.embeddings, rtol=1e-4, atol=1e-4)
        raise KeyboardInterrupt
    assert {part.device.type for part in parts} == {DEVICE} and not student.pipe.unet.is_gradient_checkpointing
