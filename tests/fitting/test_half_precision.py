"""A model in half precision is fine-tuned by every method: in copies in float32, which start where the model is."""

import gc
from dataclasses import replace
from unittest.mock import patch
from weakref import ref

import pytest
import torch
from torch.testing import assert_close

from tests.losses import named
from tests.tiny_adapters import save_tiny_adapter
from workbench.concepts import Concept
from workbench.edits import AdapterEdit, WeightEdit
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
from workbench.erasure.trce import TRCE, Models, is_trained
from workbench.fitting.copies import add, nothing, own_denoiser, own_text_encoder, teacher_of
from workbench.fitting.lora import attach
from workbench.fitting.players import generator_of
from workbench.fitting.selectors import is_key_or_value, select
from workbench.models import Diffusion, load
from workbench.testing.state import state_of

FOX = Concept("fox", anchor="cat", retain=["dog"], templates=["a photo of a {}", "{} by"])
UNASKED = replace(FOX, implied=["a photo"])
SMALL = {
    "advunlearn": AdvUnlearn(iterations=3, warmup=1, attack_steps=2, retain_batch=2, steps=3, lr=1e-5),
    "all_but_one": AllButOne(trajectories=2, steps=3, iterations=3, lr=1e-5),
    "co_erasing": CoErasing(images=2, steps=2, text_iterations=2, iterations=2, lr=1e-5),
    "concept_ablation": ConceptAblation(images=2, iterations=3, batch=2, lr=1e-5),
    "doco": DoCo(images=2, iterations=4, warmup=0, batch=2, lr=1e-5),
    "esd": ESD(iterations=3, steps=3, lr=1e-5),
    "few_shot": FewShot(pictures=2, epochs=3, lr=1e-5),
    "geom_erasing": GeomErasing(
        detector="tests.finding:Everywhere", pictures=2, grid=2, removal="data", iterations=3, batch=2, lr=1e-5
    ),
    "realera": RealEra(neighbours=3, beyond=2, lora_steps=3, lora_images=2, lora_lr=1e-5),
    "spm": SPM(sampler="frozen", trajectories=2, steps=3, iterations=3, warmup=0, anchors=1, lr=1e-3),
    "trce": TRCE(trajectories=2, unconditional=2, epochs=2, steps=4, early=2, keep_batch=2, lr=1e-5),
}


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def half(request, tiny):
    model = load(tiny(request.param).name, device="cpu", dtype=torch.bfloat16)
    model.encode("a fox")  # transformers leaves hooks of its own in SDXL's encoders
    return model


def own_bytes(copy, model):
    """Of the copy's parameters that are not the model's."""
    theirs = {id(one) for one in model.pipe.unet.parameters()}
    return sum(one.nbytes for one in copy.pipe.unet.parameters() if id(one) not in theirs)


def whole(model, wanted):
    """Bytes of parameters in float32."""
    return sum(4 * one.numel() for one in select(model, wanted).values())


@pytest.mark.parametrize("name", SMALL)
def test_every_method_that_trains_gives_an_edit_in_float32_and_leaves_the_model(name, half, tmp_path):
    """Steps of 1e-5 are far below the last place of most weights in bfloat16: they would be lost there."""
    method, before = SMALL[name], state_of(half)
    if name in ("advunlearn", "few_shot", "geom_erasing") and half.kind == "sdxl":
        pytest.skip("it does not support two text encoders")
    if name == "co_erasing":
        method = replace(method, adapter=str(save_tiny_adapter(half, tmp_path)))
    edit = method.fit(half, [UNASKED if name == "geom_erasing" else FOX])
    assert state_of(half) == before
    tensors = [one for part in edit.leaves() for one in part.tensors.values()]
    assert {one.dtype for one in tensors} == {torch.float32} and all(one.isfinite().all() for one in tensors)
    if isinstance(edit, AdapterEdit):
        assert all(one.any() for one in edit.tensors.values())
        return
    deltas = [part.delta(name) for part in edit.leaves() if isinstance(part, WeightEdit) for name in part.names]
    moved = sum(bool(delta.any()) for delta in deltas)
    assert moved > 0.9 * len(deltas)
    images = half.generate(["a photo of a fox"], [0], steps=2)
    with half.edited(edit):
        assert half.generate(["a photo of a fox"], [0], steps=2).shape == images.shape


@pytest.mark.parametrize("name", SMALL)
def test_what_a_fit_has_copied_is_gone_when_it_ends_and_not_when_python_looks_for_cycles(name, tiny_sd1, tmp_path):
    """Copies of a large denoiser and their moments would fill a GPU that Python does not see fill up."""
    method, seen = SMALL[name], []
    if name == "co_erasing":
        method = replace(method, adapter=str(save_tiny_adapter(tiny_sd1, tmp_path)))
    twin = Diffusion.twin

    def watched(self, architecture):
        made = twin(self, architecture)
        seen.extend(ref(one) for one in (made, made.pipe, made.pipe.unet, made.pipe.text_encoder))
        return made

    gc.collect()
    gc.disable()
    try:
        with patch.object(Diffusion, "twin", watched):
            method.fit(tiny_sd1, [UNASKED])
        shared = {id(part) for part in tiny_sd1.pipe.components.values()}
        alive = [type(one()).__name__ for one in seen if one() is not None and id(one()) not in shared]
    finally:
        gc.enable()
    assert seen and not alive


def test_a_student_that_has_learnt_nothing_answers_as_its_teacher_bit_for_bit(half):
    student, teacher = own_denoiser(half, is_key_or_value), teacher_of(half)
    adapters = attach(student, list(half.prompt_maps()), 1, torch.Generator().manual_seed(0))
    x, words = half.noise([0, 1]), half.encode(["a fox", "a cat"])
    with torch.no_grad():
        first, second = (one.noise_prediction(x, 500, words) for one in (student, teacher))
        assert torch.equal(first, second) and first.dtype == torch.float32
        assert first.std() > 1e-2 and len(adapters) == len(half.prompt_maps())
        next(iter(adapters.values())).left.data += 1.0
        assert not torch.equal(student.noise_prediction(x, 500, words), second)


def test_trce_keeps_everything_and_realera_what_lies_beyond_before_the_first_step(half):
    solved = TRCE(stages="1").fit(half, [FOX])
    kept = own_denoiser(half, is_key_or_value)
    add(solved, kept)
    models = Models(half, kept, own_denoiser(kept, is_trained))
    x, t = half.noise([1, 2]), torch.tensor([300, 700])
    words = half.encode("a fox")  # SDXL's empty prompt is zeros, which no map can move
    with torch.no_grad():
        held, start = (one.predicted_noise(x, t, words) for one in (models.kept, models.student))
        unedited = teacher_of(half).predicted_noise(x, t, words)
    assert torch.equal(held, start) and not torch.equal(held, unedited)

    method, own = RealEra(neighbours=2, beyond=2, lora_images=2), own_denoiser(half, is_key_or_value)
    lesson, teacher = method.lesson(half, FOX, seed=0), teacher_of(half)

    @torch.no_grad()
    def beyond():
        return float(named(method.losses(teacher, own, lesson, generator_of(0, 0)))["beyond"])

    assert beyond() == 0.0
    add(solved, own)
    assert beyond() > 0.0


def test_trce_and_realera_copy_keys_and_values_and_what_they_train_alone(half, monkeypatch):
    seen = {}
    monkeypatch.setattr("workbench.erasure.trce.Models", lambda *three: seen.update(trce=three) or Models(*three))
    monkeypatch.setattr("workbench.erasure.realera.attach", lambda own, *given: seen.update(
        realera=own_bytes(own, half)) or attach(own, *given))  # fmt: skip
    for name in ("trce", "realera"):
        SMALL[name].fit(half, [FOX])
    _, kept, student = seen["trce"]
    assert own_bytes(kept, half) == seen["realera"] == whole(half, is_key_or_value)
    assert own_bytes(student, half) == whole(half, is_key_or_value) + whole(half, is_trained)
    assert own_bytes(student, kept) == whole(half, is_trained) and own_bytes(own_denoiser(half, nothing), half) == 0


def test_a_text_encoder_of_a_model_in_half_precision_is_copied_in_float32_and_gets_whole_gradients(tiny_sd1):
    """As those of the model in float32, up to what bfloat16 leaves of a pass of the denoiser."""
    half = load(tiny_sd1.name, device="cpu", dtype=torch.bfloat16)
    name = "text_encoder.encoder.layers.1.mlp.fc1.weight"

    def gradient(model):
        student = own_text_encoder(model, {name}.__contains__)
        weight = student.parameter(name).requires_grad_(True)
        x = model.noise([0, 1])
        (student.noise_prediction(x, 500, student.encode(["a fox", "fox by"])) - x).square().mean().backward()
        return student, weight.grad

    student, got = gradient(half)
    _, exact = gradient(tiny_sd1)
    assert {one.dtype for one in student.pipe.text_encoder.parameters()} == {torch.float32}
    assert all(one is half.parameter(f"unet.{name}") for name, one in student.pipe.unet.named_parameters())
    cosine = torch.nn.functional.cosine_similarity(got.flatten(), exact.flatten(), dim=0)
    assert got.dtype == torch.float32 and cosine > 0.99
    assert_close(student.encode("a fox").embeddings, half.encode("a fox").embeddings.float(), rtol=0.05, atol=0.05)
