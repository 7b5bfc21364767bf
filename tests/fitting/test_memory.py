"""Saving memory: less is kept for the backward pass, idle parts are away, and the edit is the same."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close

from tests.measuring import turns_of
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.erasure.advunlearn import AdvUnlearn
from workbench.erasure.all_but_one import AllButOne
from workbench.erasure.co_erasing import CoErasing
from workbench.erasure.concept_ablation import ConceptAblation
from workbench.erasure.doco import DoCo
from workbench.erasure.esd import ESD
from workbench.erasure.few_shot import FewShot
from workbench.erasure.geom_erasing import GeomErasing
from workbench.erasure.realera import RealEra
from workbench.erasure.spm import SPM
from workbench.erasure.trce import TRCE
from workbench.fitting.copies import own_denoiser, own_text_encoder
from workbench.fitting.memory import idle_parts, saving_memory
from workbench.fitting.selectors import is_cross_attention, select
from workbench.models import load
from workbench.testing.state import state_of


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model in float64 whose denoiser has more to keep than to train: latents of 32 × 32."""
    folder = save_tiny("sd1", tmp_path_factory.mktemp("wide") / "sd1")
    (folder / "workbench.json").write_text('{"steps": 2, "guidance_scale": 7.5, "image_size": 64}')
    return load(folder, device="cpu", dtype=torch.float64)


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


FOX = Concept("fox", anchor="cat", retain=["dog"], templates=["a photo of a {}", "{} by"])
UNASKED = replace(FOX, implied=["a photo"])
METHODS = {
    "advunlearn": AdvUnlearn(iterations=2, warmup=1, attack_steps=2, retain_batch=2, steps=3),
    "all_but_one": AllButOne(trajectories=2, steps=3, iterations=2),
    "co_erasing": CoErasing(images=2, steps=2, text_iterations=2, iterations=2),
    "concept_ablation": ConceptAblation(images=2, iterations=2, batch=2, prior=0.5),
    "doco": DoCo(images=2, iterations=3, warmup=0, batch=2),
    "esd": ESD(iterations=2, steps=3, train="esd-u"),
    "few_shot": FewShot(pictures=2, epochs=2),
    "geom_erasing": GeomErasing(
        detector="tests.finding:Everywhere", pictures=2, grid=2, removal="data", iterations=2, batch=2
    ),
    "realera": RealEra(neighbours=3, beyond=2, lora_steps=2, lora_images=2),
    "spm": SPM(sampler="frozen", trajectories=2, steps=3, iterations=2, warmup=0, anchors=2),
    "trce": TRCE(trajectories=2, unconditional=2, epochs=1, steps=4, early=2, keep_batch=2),
}


def of_the_model(turn):
    """Whether the model learnt in it, not a discriminator, nor nobody."""
    return any(not name.startswith("layers.") for name in turn.gradients)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_less_at_its_peak_and_finds_the_same_gradients(wide, name, tmp_path):
    """Of what a turn takes beside what was there before, copies and moments included; two turns, so that the second
    goes on from the first."""
    method = METHODS[name]
    if name == "co_erasing":
        method = replace(method, adapter=str(save_tiny_adapter(wide, tmp_path)))
    before = state_of(wide)
    plain, saved = (
        [turn for turn in turns_of(lambda one=one: one.fit(wide, [UNASKED]), wide) if of_the_model(turn)]
        for one in (method, replace(method, save_memory=True))
    )
    assert len(plain) == len(saved) == (4 if name == "co_erasing" else 2) and state_of(wide) == before
    for one, other in zip(plain, saved, strict=True):
        assert other.peak - other.before < 0.6 * (one.peak - one.before)
        assert one.gradients.keys() == other.gradients.keys()
        largest = max(np.abs(gradient).max() for gradient in one.gradients.values())
        assert largest > 0
        for key, gradient in one.gradients.items():
            np.testing.assert_allclose(other.gradients[key], gradient, rtol=1e-6, atol=1e-9 * largest)


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
