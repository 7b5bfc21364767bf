"""DoCo in float64: its losses by direct calls, whole fits against a loop written by hand, and its players' turns."""

from dataclasses import replace
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.killing import kill_and_go_on
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.erasure import doco
from workbench.erasure.concept_ablation import Lesson, Seen, protected
from workbench.erasure.doco import FOOL, KEEP, DoCo, Game, discriminator_of
from workbench.fitting.checkpoints import resumable
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.discriminator import Discriminator
from workbench.fitting.players import generator_of
from workbench.fitting.selectors import is_key_or_value, select
from workbench.models import load
from workbench.testing.state import Watch, state_of

FOX = Concept("fox", anchor="cat", templates=["a photo of a {}", "{}"])
SMALL = DoCo(images=3, iterations=5, warmup=1, batch=2, lr=1e-3, wording="replace", resize=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """In float64, its prompt maps enlarged: random weights hardly read the prompt."""
    loaded = load(save_tiny("sd1", tmp_path_factory.mktemp("double") / "sd1"), device="cpu")
    loaded.pipe.to(torch.float64)
    with torch.no_grad():
        for weight in loaded.prompt_maps().values():
            weight.mul_(10)
    return loaded


def lessons(concept=FOX, n=3):
    pictures = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    texts = concept.anchor_prompts()
    return [Lesson(picture, texts[i % len(texts)], concept) for i, picture in enumerate(pictures)]


def game_of(model, method=SMALL):
    student = own_denoiser(model)
    return Game(method, model, student, discriminator_of(model, denoiser_parameters(student), 0), lessons())


def moved(student, size=0.3):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in select(student, "esd-strict").values():
            weight.add_(size * torch.randn(weight.shape, generator=generator).double())


def answer(pipe, x, times, prompts):
    """The denoiser's outputs, without the handle."""
    ids = pipe.tokenizer(list(prompts), padding="max_length", return_tensors="pt").input_ids
    return pipe.unet(x, times, encoder_hidden_states=pipe.text_encoder(ids)[0]).sample


def guessed(pipe, seen, prompts):
    """x̂₀ by DDPM, a latent at a time."""
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()  # 1 − ᾱ and the roots of float32 are 1e-5 off
    noise = answer(pipe, seen.latents, seen.timesteps, prompts)
    each = zip(noise, seen.timesteps, seen.latents, strict=True)
    return torch.cat([scheduler.step(one[None], int(t), x[None]).pred_original_sample for one, t, x in each])


def drawn(method, model, seed=0):
    return method.anchors.drawn(model, lessons(), torch.Generator().manual_seed(seed))


def test_pictures_that_predictions_stand_for_are_ddpms_at_the_time_of_each_row(model):
    game = game_of(model)
    moved(game.student)
    seen = drawn(SMALL, model)
    for handle in (model, game.student):
        got = game.picture(handle, seen, seen.targets)
        assert_close(got, guessed(handle.pipe, seen, seen.targets), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(game.picture(game.student, seen, seen.targets), game.picture(model, seen, seen.targets))


def test_a_student_that_has_learnt_nothing_shows_for_the_anchors_prompt_what_the_frozen_model_shows(model):
    game, seen = game_of(model), drawn(SMALL, model)
    assert torch.equal(game.picture(game.student, seen, seen.anchors), game.picture(model, seen, seen.anchors))


def test_what_is_no_picture_is_not_shown(model):
    game, seen = game_of(model), drawn(SMALL, model)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 3:9], mask[1] = 1, 1
    got = game.picture(model, seen._replace(mask=mask), seen.targets)
    assert not got[0, :, :3].any() and not got[0, :, 9:].any() and got[0, :, 3:9].all()
    assert torch.equal(got[1], game.picture(model, seen, seen.targets)[1])


@pytest.mark.parametrize("surgery", ["projected", "off"])
def test_the_generators_terms_are_the_published_losses(model, surgery):
    method = replace(SMALL, surgery=surgery, prior=0.3)
    game = game_of(model, method)
    moved(game.student)
    parts = list(game.of_generator(2, torch.Generator().manual_seed(7)))
    draw = torch.Generator().manual_seed(7)
    seen, other = (method.anchors.drawn(model, lessons(), draw) for _ in range(2))
    judged = game.judge(guessed(game.student.pipe, seen, seen.targets))
    assert_close(parts[0][FOOL], -(1 - torch.sigmoid(judged)).log().mean(), rtol=1e-6, atol=1e-8)
    again = answer(game.student.pipe, other.latents, other.timesteps, other.anchors)
    weight = 0.3 if surgery == "off" else 1.0
    assert_close(parts[1][KEEP], weight * (again - other.aim).square().mean(), rtol=1e-9, atol=1e-12)
    real = game.judge(guessed(model.pipe, seen, seen.anchors))
    loss = game.of_discriminator(2, torch.Generator())
    expected = -torch.sigmoid(judged).log().mean() - (1 - torch.sigmoid(real)).log().mean()
    assert_close(loss, expected, rtol=1e-6, atol=1e-8)
    assert not game.shown.made_up.requires_grad and not game.shown.real.requires_grad


def grads(model, wanted):
    """Of the keys and values by L_adv, with the first token free or not, where the prompt is that token alone."""
    game = game_of(model)
    moved(game.student)
    names = denoiser_parameters(game.student, is_key_or_value)
    for one in names.values():
        one.requires_grad_(True)
    begin = replace(model.encode("fox"), embeddings=model.encode("fox").embeddings[:, :1].detach(), prompts=None)
    with protected(game.student, wanted), patch.object(doco, "encoded", lambda *_: begin):
        (loss,) = next(game.of_generator(2, torch.Generator().manual_seed(0))).values()
    found = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
    return max(0.0 if one is None else float(one.abs().max()) for one in found)


def test_the_first_token_teaches_nothing_if_it_is_protected(model):
    assert grads(model, True) == 0.0
    assert grads(model, False) > 1e-6


class Turns:
    """Weights of both players before and after each turn, by whose it was."""

    def __init__(self):
        self.seen = []

    def watch(self, game, role, loss):
        def watched(step, generator):
            student = torch.cat([one.detach().flatten() for one in select(game.student, "esd-strict").values()])
            judge = torch.cat([one.detach().flatten() for one in game.judge.parameters()])
            asking = [one.requires_grad for one in game.judge.parameters()]
            self.seen.append((role, step, student.clone(), judge.clone(), any(asking)))
            return loss(step, generator)

        return watched

    def fit(self, method, model):
        turns, made = self, Game.__init__

        def init(game, *given):
            made(game, *given)
            for role in ("generator", "discriminator"):
                setattr(game, f"of_{role}", turns.watch(game, role, getattr(game, f"of_{role}")))

        with patch.object(Game, "__init__", init):
            return method.fit(model, [FOX])


def test_the_denoiser_learns_after_the_warm_up_alone_and_the_discriminator_from_the_first_step(tiny_sd1):
    turns = Turns()
    edit = turns.fit(replace(SMALL, iterations=6, warmup=2), tiny_sd1)
    assert [role for role, *_ in turns.seen] == ["generator", "discriminator"] * 6
    students = [student for role, _, student, *_ in turns.seen if role == "generator"]
    judges = [judge for role, _, _, judge, _ in turns.seen if role == "generator"]
    changed = [not torch.equal(*both) for both in pairwise(students)]
    assert changed == [False, False, False, True, True], "first in step 3, as it is the first after warm-up"
    assert all(not torch.equal(*both) for both in pairwise(judges))
    assert all(edit.delta(name).any() for name in edit.names)


def test_the_discriminator_is_asked_for_no_gradient_in_the_generators_turns(tiny_sd1):
    turns = Turns()
    turns.fit(SMALL, tiny_sd1)
    assert {(role, asking) for role, *_, asking in turns.seen} == {("generator", False), ("discriminator", True)}


def surgery_by_hand(learn, keep, scale, official):
    """Weight by weight, written out: both clipped together to 1, then the component against r goes."""

    def shortened(some):
        norm = torch.cat([one.flatten() for one in some]).norm()
        return [one * min(1.0, 1.0 / float(norm)) for one in some]

    out = []
    for g, r in zip(shortened(learn), shortened(keep), strict=True):
        cosine = torch.nn.functional.cosine_similarity(g.flatten(), r.flatten(), dim=0)
        length = 1.0 if official else g.norm()
        out.append(g - scale * cosine * length * r / r.norm() if cosine < 0 else g)
    return out


def by_hand(model, method, seed, pictures):
    """The fit with torch's optimisers: one pass of both networks a step, then the two updates, from the same draws."""
    student = own_denoiser(model)
    weights = list(select(student, "esd-strict").values())
    judge = Discriminator(4, 16, seed).double()
    of_student = torch.optim.AdamW(weights, lr=method.lr, weight_decay=0.01)
    of_judge = torch.optim.Adam(judge.parameters(), lr=1e-4, betas=(0.5, 0.999))
    bce, conflicts = nn.BCEWithLogitsLoss(), 0
    for step in range(method.iterations):
        draw = generator_of(seed, step, 0, "generator")
        seen = method.anchors.drawn(model, pictures, draw)
        for one in weights:
            one.requires_grad_(True)
        with torch.no_grad():
            real = guessed(model.pipe, seen, seen.anchors)
        made_up = guessed(student.pipe, seen, seen.targets)
        if step > method.warmup:
            said = judge(made_up)
            learn = torch.autograd.grad(bce(said, torch.zeros_like(said)), weights)
            other = method.anchors.drawn(model, pictures, draw, resize=False)
            again = answer(student.pipe, other.latents, other.timesteps, other.anchors)
            keep = torch.autograd.grad((again - other.aim).square().mean(), weights)
            conflicts += sum(float((a * b).sum()) < 0 for a, b in zip(learn, keep, strict=True))
            if method.surgery == "off":
                total = [a + method.prior * b for a, b in zip(learn, keep, strict=True)]
            else:
                total = surgery_by_hand(learn, keep, method.surgery_scale, method.surgery == "official")
            for one, gradient in zip(weights, total, strict=True):
                one.grad = gradient
            if method.surgery == "off":
                nn.utils.clip_grad_norm_(weights, 1.0)
            of_student.step()
        said, real_said = judge(made_up.detach()), judge(real)
        of_judge.zero_grad()
        (bce(said, torch.ones_like(said)) + bce(real_said, torch.zeros_like(real_said))).backward()
        of_judge.step()
    return {name: one.detach() for name, one in select(student, "esd-strict").items()}, conflicts


@pytest.mark.parametrize("surgery", ["projected", "official", "off"])
def test_a_fit_is_the_loop_written_by_hand(model, surgery):
    method = replace(SMALL, surgery=surgery, surgery_scale=0.7, protect_begin=False, iterations=6, prior=0.3)
    edit = method.fit(model, [FOX], seed=3)
    pictures = method.anchors.lessons(model, FOX, None, 3)
    weights, conflicts = by_hand(model, method, 3, pictures)
    assert set(edit.names) == set(weights) and conflicts >= 2
    for name, one in weights.items():
        assert_close(edit.delta(name), one - model.parameter(name).detach(), rtol=1e-3, atol=1e-7)
    assert min(float(edit.delta(name).abs().max()) for name in weights) > 1e-3


def test_how_conflicts_are_handled_decides_the_edit(model):
    deltas = [
        torch.cat([edit.delta(name).flatten() for name in edit.names])
        for how in ({}, {"surgery": "official"}, {"surgery": "off"}, {"surgery_scale": 0.0})
        for edit in [replace(SMALL, **how).fit(model, [FOX])]
    ]
    assert all(not torch.allclose(a, b, atol=1e-9) for i, a in enumerate(deltas) for b in deltas[:i])


@pytest.mark.parametrize("train_", ["cross-attn", "full-weight"])
def test_only_the_chosen_parameters_change_and_the_model_does_not(tiny_sd1, train_):
    before = state_of(tiny_sd1)
    edit = replace(SMALL, train=train_).fit(tiny_sd1, [FOX])
    known = denoiser_parameters(tiny_sd1)
    expected = set(known) if train_ == "full-weight" else {name for name in known if is_key_or_value(name)}
    assert set(edit.names) == expected and state_of(tiny_sd1) == before
    assert any(edit.delta(name).abs().max() > 1e-6 for name in edit.names)


def test_every_weight_is_operated_on_whatever_it_is_called():
    """The code looks for cross-attention by name and leaves the rest as it is."""
    learn, keep = torch.tensor([1.0, -0.5]), torch.tensor([0.0, 2.0])
    got = DoCo().operated({FOOL: {"unet.conv_in.weight": learn / 2}, KEEP: {"unet.conv_in.weight": keep}})
    assert_close(got["unet.conv_in.weight"], torch.tensor([0.5, 0.0]))
    alone = DoCo().operated({FOOL: {"a": learn / 2}, KEEP: {"b": keep}})
    assert torch.equal(alone["a"], learn / 2) and "b" not in alone


def test_the_published_rates_are_those_of_the_kind():
    style = Concept("oskar lind", anchor="yara pell", kind="style")
    assert DoCo().judge_plan([style]).lr == 5e-4 and DoCo().judge_plan([style, FOX]).lr == 1e-4
    assert DoCo(discriminator_lr=1e-2).judge_plan([FOX]).lr == 1e-2
    plan = DoCo().plan
    assert (plan.steps, plan.lr, plan.weight_decay, plan.clip) == (2000, 4.8e-5, 0.01, None)
    assert DoCo().judge_plan([FOX]).betas == (0.5, 0.999) and DoCo(surgery="off").plan.clip == 1.0


def test_what_cannot_be_done_is_refused_before_any_work(tiny_sd1, tiny_flux):
    watch = Watch()
    for model, concept, words in [
        (tiny_flux, FOX, "flux"),
        (tiny_sd1, Concept("fox"), "needs `anchor`"),
        (tiny_sd1, Concept("fox", anchor="Fox "), "the same tokens"),
    ]:
        with pytest.raises(WorkbenchError, match=words):
            DoCo().fit(model, [concept], progress=watch)
    assert watch.items == 0
    for iterations, warmup in ((10, 9), (10, 10), (1, 0)):
        with pytest.raises(WorkbenchError, match="leave the denoiser none"):
            DoCo(iterations=iterations, warmup=warmup)
    assert DoCo(iterations=10, warmup=8).warmup == 8
    with (
        patch.object(type(tiny_sd1), "noise", lambda *_: torch.zeros(1, 4, 4, 4)),
        pytest.raises(WorkbenchError, match="4 wide"),
    ):
        discriminator_of(tiny_sd1, denoiser_parameters(tiny_sd1), 0)


def test_a_killed_fit_gives_the_edit_of_an_uninterrupted_one(tmp_path, tiny_sd1):
    """Also where it was killed between what the generator showed and the discriminator's turn."""
    method = replace(SMALL, iterations=9)

    def work():
        with resumable(tmp_path, seconds=0.0) as here:
            return method.fit(tiny_sd1, [FOX], seed=1), here.regained

    edit, regained = kill_and_go_on(tmp_path, work)
    whole = method.fit(tiny_sd1, [FOX], seed=1)
    assert regained > 0
    assert all(torch.equal(edit.delta(name), whole.delta(name)) for name in whole.names)


def test_seen_is_what_concept_ablation_sees(model):
    """The same pictures, prompts and noise: a comparison of the two compares what they learn by."""
    ours, theirs = drawn(SMALL, model), drawn(replace(SMALL, surgery="off"), model)
    assert isinstance(ours, Seen) and torch.equal(ours.latents, theirs.latents)
    assert set(ours.targets) <= {"a photo of a fox", "fox"} and set(ours.anchors) <= {"a photo of a cat", "cat"}
