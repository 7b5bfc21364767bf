"""ESD's equations in float64 against the UNet called directly, and what its trajectories and edits promise."""

from typing import get_args

import pytest
import torch
from diffusers import DDIMScheduler
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.erasure.esd import ESD, Trained, texts_of
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player
from workbench.fitting.selectors import select, wanted
from workbench.fitting.training import train
from workbench.fitting.trajectories import partway, trajectories
from workbench.fitting.views import Seen
from workbench.models import load

FOX = Concept("fox", templates=["a photo of a {}", "{}"], synonyms=["bear"])


@pytest.fixture(scope="module")
def model(tiny_sd1):
    return load(tiny_sd1.name, device="cpu", dtype=torch.float64)


def raw(model, x, times, prompt):
    """The UNet's output for one prompt, without the handle."""
    ids = model.pipe.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
    text = model.pipe.text_encoder(ids)[0].expand(len(x), -1, -1)
    with torch.no_grad():
        return model.pipe.unet(x, torch.as_tensor(times), encoder_hidden_states=text).sample


def latents(seed=0, n=2):
    return torch.randn(n, 4, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noisy(student, seed=1):
    """The student with other weights."""
    generator = torch.Generator().manual_seed(seed)
    for one in denoiser_parameters(student).values():
        one.data += 0.1 * torch.randn(one.shape, generator=generator, dtype=one.dtype)
    return student


def seen(method, model, prompt="fox", times=500):
    """One (x, t) with its target by the frozen model."""
    x, start = latents(), method.erase_from or prompt
    return Seen(x, torch.full((2,), times), [start] * 2, method._answer(model, x, times, prompt))


@pytest.mark.parametrize("eta", [0.0, 0.7, 3.0])
def test_the_loss_of_an_untrained_student_is_known_in_closed_form(model, eta):
    """(1 + η)² mean (ε_c − ε_∅)² by (2), η′² times it by (3) with f = c."""
    x = latents()
    gap = (raw(model, x, 500, "fox") - raw(model, x, 500, "")).square().mean()
    for method, factor in (
        (ESD(negative_guidance=eta), (1 + eta) ** 2),
        (ESD(negative_guidance=eta, erase_from="fox"), eta**2),
    ):
        got = method.loss(model, own_denoiser(model), seen(method, model))
        assert_close(got, factor * gap, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("erase_from", ["", "a dog"])
def test_the_loss_is_the_mean_square_to_the_target_at_each_latents_own_time(model, erase_from):
    """A student of other weights, two timesteps, and (2) and (3) written out."""
    method, student, x = ESD(negative_guidance=0.7, erase_from=erase_from), noisy(own_denoiser(model)), latents()
    times = torch.tensor([100, 900])
    cond, uncond = raw(model, x, times, "fox"), raw(model, x, times, "")
    start = raw(model, x, times, erase_from) if erase_from else uncond
    y = start - 0.7 * (cond - uncond)
    target = torch.cat([method._answer(model, x[[i]], int(times[i]), "fox") for i in range(2)])
    assert_close(target, y)
    said = erase_from or "fox"
    got = method.loss(model, student, Seen(x, times, [said] * 2, target))
    assert_close(got, ((raw(student, x, times, said) - y) ** 2).sum() / y.numel())
    others = raw(student, x, times, "fox" if erase_from else "a dog")
    assert (got - (others - y).square().mean()).abs() > 1e-4, "the prompt matters to the student"


def test_both_forms_give_one_target_where_eta_differs_by_one(model):
    x = latents()
    cond, uncond = raw(model, x, 500, "fox"), raw(model, x, 500, "")
    paper = ESD(negative_guidance=1.3).target(cond, cond, uncond)
    code = ESD(negative_guidance=2.3, erase_from="fox").target(cond, cond, uncond)
    assert_close(paper, code, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 2.0])
def test_the_empty_prompt_has_nothing_to_erase(model, eta):
    method, student = ESD(negative_guidance=eta), own_denoiser(model)
    found = seen(method, model, prompt="")
    assert_close(found.target, raw(model, found.latents, 500, ""), rtol=0, atol=1e-12)
    trained = select(student, "esd-x")
    for one in trained.values():
        one.requires_grad_(True)
    loss = method.loss(model, student, found)
    loss.backward()
    assert loss < 1e-24 and all(one.grad.abs().max() < 1e-12 for one in trained.values())


def test_no_gradient_reaches_the_frozen_model_its_text_encoder_or_the_latents(tiny_sd1):
    model = load(tiny_sd1.name, device="cpu")
    student, frozen = own_denoiser(model), [*model.pipe.unet.parameters(), *model.pipe.text_encoder.parameters()]
    for one in (*frozen, *student.pipe.unet.parameters()):
        one.requires_grad_(True)
    found = ESD(steps=3).online(model, student, ["fox"], torch.Generator().manual_seed(2))
    assert not found.latents.requires_grad and not found.target.requires_grad
    ESD().loss(model, student, found).backward()
    assert all(one.grad is None for one in frozen)
    assert all(one.grad is not None for one in select(student, "esd-x").values())


def test_training_on_one_latent_turns_the_concepts_direction_round(model):
    """The loss falls to a tenth, and what the concept adds to the empty prompt points the other way."""
    method, student = ESD(), own_denoiser(model, wanted("esd-x"))
    found = seen(method, model)
    before = raw(model, found.latents, 500, "fox") - raw(model, found.latents, 500, "")
    plan = Plan(steps=60, lr=2e-2, weight_decay=0.0)
    history = train(Player(select(student, "esd-x"), lambda *_: method.loss(model, student, found), plan))
    after = raw(student, found.latents, 500, "fox") - raw(model, found.latents, 500, "")
    assert history.losses[-1] < 0.1 * history.losses[0]
    assert torch.cosine_similarity(before.flatten(), after.flatten(), dim=0) < -0.5


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_latents_are_those_of_the_plain_pipeline_after_as_many_steps(tiny, kind):
    """The k-th latent goes with the k-th timestep, not one or two further on, under guidance of w."""
    model, path = tiny(kind), []
    scheduler = DDIMScheduler.from_config(model.pipe.scheduler.config, clip_sample=False)
    pipe = type(model.pipe)(**{**model.pipe.components, "scheduler": scheduler}, **(
        {"requires_safety_checker": False} if kind != "sdxl" else {"add_watermarker": False}
    ))  # fmt: skip
    pipe.set_progress_bar_config(disable=True)

    def note(_, k, t, values):
        path.append((int(t), values["latents"]))
        return {}

    words = model.architecture.prompt_arguments(model.encode("a fox"), model.encode("", role="uncond"))
    pipe(**words, latents=model.noise([7]), guidance_scale=3.0, num_inference_steps=5, height=32, width=32,
         output_type="latent", callback_on_step_end=note)  # fmt: skip
    times = [t for t, _ in path]
    frozen = trajectories(model, ["a fox"], [7], steps=5, seen=5, guidance_scale=3.0)
    assert frozen.timesteps == times
    for k in range(5):
        x, t = partway(model, "a fox", model.noise([7]), k, steps=5, guidance_scale=3.0)
        expected = path[k - 1][1] if k else model.noise([7])
        assert t == times[k]
        assert_close(x, expected, rtol=1e-4, atol=1e-4)
        assert_close(frozen.latents[:, k], expected, rtol=1e-4, atol=1e-4)


def test_the_student_draws_its_own_latents_and_the_frozen_model_says_what_to_learn(tiny_sd1):
    method, student = ESD(steps=6, batch=2), noisy(own_denoiser(tiny_sd1))
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    by_student = method.online(tiny_sd1, student, ["fox", "cat"], generators[0])
    by_model = method.online(tiny_sd1, tiny_sd1, ["fox", "cat"], generators[1])
    t = int(by_student.timesteps[0])
    assert t < 800 and by_model.timesteps.tolist() == by_student.timesteps.tolist() == [t, t]
    assert (by_student.latents - by_model.latents).abs().max() > 1e-3
    text = by_student.prompts[0]
    x = by_student.latents
    expected = 2 * raw(tiny_sd1, x, t, "") - raw(tiny_sd1, x, t, text)  # (2) with η = 1
    assert_close(by_student.target, expected, rtol=1e-4, atol=1e-4)


def test_words_and_times_are_drawn_evenly(tiny_sd1):
    method, draws = ESD(steps=3), [torch.Generator().manual_seed(seed) for seed in range(40)]
    found = [method.online(tiny_sd1, tiny_sd1, ["fox", "cat"], one) for one in draws]
    times = [int(one.timesteps[0]) for one in found]
    words = [one.prompts[0] for one in found]
    assert len(set(times)) == 3 and min(map(times.count, times)) > 6
    assert set(words) == {"fox", "cat"} and 12 < words.count("fox") < 28


@pytest.mark.parametrize("erase_from", ["", "a dog"])
def test_what_the_frozen_model_said_beforehand_is_what_it_would_say(tiny_sd1, erase_from):
    """18 trajectories: more than one batch."""
    method = ESD(sampler="frozen", steps=3, trajectories=18, negative_guidance=0.7, erase_from=erase_from)
    view = method._frozen(tiny_sd1, ["fox", "cat"], 0, lambda items, *_: items)
    drawn = view.drawn(40, torch.Generator().manual_seed(0))
    assert set(drawn.prompts) == ({erase_from} if erase_from else {"fox", "cat"})
    assert set(drawn.timesteps.tolist()) == set(view.timesteps) and len(view.timesteps) == 3
    for i in (0, 1, 16, 17):
        text = ("fox", "cat")[i % 2]
        assert view.prompts[i] == (erase_from or text)
        for k, t in enumerate(view.timesteps):
            again = method._answer(tiny_sd1, view.latents[i : i + 1, k], t, text)
            assert_close(view.target[i : i + 1, k], again, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", get_args(Trained))
def test_an_edit_changes_exactly_its_set(tiny_sd1, which):
    edit = ESD(train=which, iterations=2, steps=2, lr=1e-3).fit(tiny_sd1, [FOX])
    assert edit.names == sorted(select(tiny_sd1, which))
    still = [name for name in edit.names if not edit.delta(name).any()]
    assert not still
    assert all(edit.delta(name).abs().max() <= 2.1e-3 for name in edit.names), "Adam's steps are its rate"


def test_a_model_in_half_precision_is_taught_in_float32(tiny_sd1):
    half = load(tiny_sd1.name, device="cpu", dtype=torch.bfloat16)
    for sampler in ("student", "frozen"):
        edit = ESD(iterations=3, steps=3, trajectories=2, lr=1e-5, sampler=sampler).fit(half, [FOX])
        assert all(edit.delta(name).dtype == torch.float32 and edit.delta(name).any() for name in edit.names)


def test_texts_name_the_concept_as_told():
    both = [FOX, Concept("cat", templates=["{}"])]
    assert texts_of(both, "name") == ["fox", "cat"]
    assert texts_of(both, "templates") == ["a photo of a fox", "fox", "cat"]
    assert texts_of(both, "all") == ["a photo of a fox", "fox", "a photo of a bear", "bear", "cat"]


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"steps": 0}, {"lr": -1.0}, {"batch": 0}], ids=str)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(WorkbenchError, match=next(iter(wrong))):
        ESD(**wrong)
