"""All but One against its equations in float64, written out from separate calls of the model."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.erasure.all_but_one import AllButOne, guidance_loss, pairs_of
from workbench.erasure.esd import ESD
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.pairs import Pair
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player
from workbench.fitting.selectors import is_cross_attention, select
from workbench.fitting.training import train
from workbench.fitting.views import Seen
from workbench.models import load

FOX = Concept("fox", anchor="cat", templates=["a photo of a {}", "{}"])
SMALL = {"trajectories": 2, "steps": 4, "iterations": 3, "lr": 1e-3}
PAIRS = [Pair("fox", "cat")]
LATENTS, TIMES = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)).double(), [900, 500, 60]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """In float64, its prompt maps enlarged: random weights hardly read the prompt."""
    loaded = load(save_tiny("sd1", tmp_path_factory.mktemp("double") / "sd1"), device="cpu")
    loaded.pipe.to(torch.float64)
    with torch.no_grad():
        for weight in loaded.prompt_maps().values():
            weight.mul_(10)
    return loaded


@torch.no_grad()
def outputs(model, prompt, role="cond"):
    """A latent at a time, each at its own timestep."""
    rows = [model.noise_prediction(x[None], t, model.encode(prompt, role)) for x, t in zip(LATENTS, TIMES, strict=True)]
    return torch.cat(rows)


def seen_by(method, model, alternative="cat"):
    """What θ* has to say at three latents of three timesteps."""
    cond, uncond = outputs(model, "fox"), outputs(model, "", "uncond")
    guidance = method.wanted(cond, uncond, outputs(model, alternative) if method.target == "alternative" else None)
    return Seen(LATENTS, torch.tensor(TIMES), ["fox"] * 3, guidance, uncond)


def shifted(model, seed=1):
    """A student whose cross-attention is not the model's."""
    student = own_denoiser(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in select(student, "esd-x").values():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator).double())
    return student


def gradients(student, losses):
    """All of them in a row, zeros where none flows."""
    weights = list(denoiser_parameters(student).values())
    for weight in weights:
        weight.requires_grad_(True)
    found = torch.autograd.grad(losses(), weights, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.parametrize("target", ["alternative", "neutral", "negative"])
def test_before_training_the_guidance_loss_is_the_gap_to_the_target_and_nothing_has_drifted(model, target):
    method = AllButOne(target=target, negative_guidance=0.7)
    student = own_denoiser(model)
    seen = seen_by(method, model)
    losses = method.losses(model, student, seen)
    g = outputs(model, "fox") - outputs(model, "", "uncond")
    expected = {
        "alternative": (outputs(model, "fox") - outputs(model, "cat")).square().mean(),
        "neutral": g.square().mean(),
        "negative": (1 + 0.7) ** 2 * g.square().mean(),
    }[target]
    assert_close(losses["guidance"], expected, rtol=1e-6, atol=0.0)
    assert expected > 1e-4 and losses["unconditional"] < 1e-24
    drift = gradients(student, lambda: method.losses(model, student, seen)["unconditional"])
    assert drift.abs().max() < 1e-10
    assert gradients(student, lambda: method.losses(model, student, seen)["guidance"]).abs().max() > 1e-6


@pytest.mark.parametrize("detach", [True, False])
def test_both_terms_of_a_changed_student_are_those_of_separate_calls(model, detach):
    method, student = AllButOne(hold=2.5, detach_uncond=detach), shifted(model)
    losses = method.losses(model, student, seen_by(method, model))
    cond, uncond = outputs(student, "fox"), outputs(student, "", "uncond")
    cat, none = outputs(model, "cat"), outputs(model, "", "uncond")
    assert_close(losses["guidance"], ((cond - uncond) - (cat - none)).square().mean(), rtol=1e-6, atol=0.0)
    assert_close(losses["unconditional"], 2.5 * (uncond - none).square().mean(), rtol=1e-6, atol=0.0)
    assert losses["unconditional"] > 1e-4


def test_an_alternative_that_is_the_concept_leaves_no_loss_and_no_gradient(model):
    method, student = AllButOne(), own_denoiser(model)
    seen = seen_by(method, model, alternative="fox")
    assert sum(method.losses(model, student, seen).values()) < 1e-24
    assert gradients(student, lambda: sum(method.losses(model, student, seen).values())).abs().max() < 1e-10


@pytest.mark.parametrize("detach", [True, False])
def test_the_guidance_loss_moves_the_prediction_without_a_prompt_only_if_it_is_not_detached(detach):
    generator = torch.Generator().manual_seed(0)
    cond, uncond, wanted = (torch.randn(2, 4, 3, 3, generator=generator).double() for _ in range(3))
    cond.requires_grad_(True), uncond.requires_grad_(True)
    loss = guidance_loss(cond, uncond, wanted, detach)
    to_cond, to_uncond = torch.autograd.grad(loss, [cond, uncond], allow_unused=True)
    assert_close(to_cond, 2 * (cond - uncond - wanted) / cond.numel())
    assert guidance_loss(cond, uncond + 1, wanted, detach) != loss
    assert to_uncond is None if detach else torch.equal(to_uncond, -to_cond)


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5])
def test_where_both_losses_are_zero_guidance_is_that_of_the_alternative_at_every_scale(model, scale):
    method = AllButOne()
    seen = seen_by(method, model)
    cond = (seen.target + seen.uncond).requires_grad_(True)  # the student that solves both
    assert guidance_loss(cond, seen.uncond, seen.target, True) < 1e-24
    none, cat = outputs(model, "", "uncond"), outputs(model, "cat")
    assert_close(seen.uncond + scale * (cond - seen.uncond), none + scale * (cat - none), rtol=0.0, atol=1e-10)


def trained(model, hold):
    """(drift of ∅, L_g at first, L_g at last) of a student trained on one latent."""
    method, student = AllButOne(hold=hold), own_denoiser(model)
    seen = seen_by(method, model)
    seen = Seen(seen.latents[:1], seen.timesteps[:1], ["fox"], seen.target[:1], seen.uncond[:1])

    def guidance():
        return float(method.losses(model, student, seen)["guidance"].detach())

    start, plan = guidance(), Plan(steps=60, lr=3e-3, weight_decay=0.0)
    train(Player(select(student, "esd-x"), lambda *_: method.losses(model, student, seen), plan))
    return float((outputs(student, "", "uncond")[:1] - seen.uncond).square().mean()), start, guidance()


@pytest.mark.slow
def test_the_hold_lowers_the_drift_while_the_guidance_moves(model):
    """Without it, ε_θ(c) chases an ε_θ(∅) that moves along: much drift, and L_g hardly falls."""
    drifts, starts, ends = zip(*(trained(model, hold) for hold in (0.0, 1.0, 100.0)), strict=True)
    assert drifts[0] > 5 * drifts[1] and drifts[1] > 5 * drifts[2]
    assert starts[1] > 5 * ends[1] and starts[0] > ends[0]
    assert ends[1] < ends[2]


@pytest.mark.parametrize("sampler", ["frozen", "online", "student"])
def test_only_the_chosen_parameters_change_and_the_model_does_not(tiny_sd1, sampler):
    before = {name: weight.detach().clone() for name, weight in denoiser_parameters(tiny_sd1).items()}
    edit = AllButOne(sampler=sampler, batch=2, **SMALL).fit(tiny_sd1, [FOX])
    assert set(edit.names) == {name for name in before if is_cross_attention(name)}
    assert all(torch.equal(weight, before[name]) for name, weight in denoiser_parameters(tiny_sd1).items())
    changed = {name for name in edit.names if edit.delta(name).abs().max() > 0}
    assert any(".to_k." in name for name in changed)


@pytest.mark.parametrize("target", ["alternative", "neutral", "negative"])
def test_the_frozen_view_holds_what_the_model_says_at_each_latent_and_its_own_timestep(model, target):
    method = AllButOne(target=target, prompts="templates", **SMALL)
    view = method.frozen(model, pairs_of(FOX, "templates"), seed=3)
    assert view.prompts == ["a photo of a fox", "fox"]
    for i, safe in enumerate(["a photo of a cat", "cat"]):
        for k, t in enumerate(view.timesteps):
            x = view.latents[i, [k]]
            cond, none, cat = (
                model.noise_prediction(x, t, model.encode(*one))
                for one in ((view.prompts[i],), ("", "uncond"), (safe,))
            )
            g = {"alternative": cat - none, "neutral": 0 * cat, "negative": none - cond}[target]
            assert_close(view.target[i, [k]], g.detach().to(view.target), rtol=1e-4, atol=1e-5)
            assert_close(view.uncond[i, [k]], none.detach().to(view.uncond), rtol=1e-4, atol=1e-5)
    drawn = view.drawn(50, torch.Generator().manual_seed(0))
    for row in range(50):
        k = view.timesteps.index(int(drawn.timesteps[row]))
        i = view.prompts.index(drawn.prompts[row])
        assert torch.equal(drawn.latents[row], view.latents[i, k])
        assert torch.equal(drawn.target[row], view.target[i, k])
        assert torch.equal(drawn.uncond[row], view.uncond[i, k])


def test_online_latents_are_guided_ones_of_the_model_and_of_the_student_only_if_told_so(model):
    student = shifted(model)
    seens = {
        sampler: AllButOne(sampler=sampler, steps=4).online(model, student, PAIRS, torch.Generator().manual_seed(5))
        for sampler in ("online", "student")
    }
    seen = seens["online"]
    t = int(seen.timesteps[0])
    assert_close(seen.uncond, model.noise_prediction(seen.latents, t, model.encode("", "uncond")))
    assert_close(seen.target + seen.uncond, model.noise_prediction(seen.latents, t, model.encode("cat")))
    assert t < 900, "a latent that was denoised a little, for the next line to say something"
    assert not torch.allclose(seen.latents, seens["student"].latents, atol=1e-4)


def test_without_an_anchor_the_alternative_is_nothing(model):
    view = AllButOne(**SMALL).frozen(model, pairs_of(replace(FOX, anchor=""), "name"), seed=0)
    assert view.target.abs().max() < 1e-5


def test_texts_go_with_the_alternative_in_the_same_template():
    fox = replace(FOX, synonyms=["vixen"])
    assert pairs_of(fox, "name") == [("fox", "cat")]
    assert pairs_of(fox, "templates") == [("a photo of a fox", "a photo of a cat"), ("fox", "cat")]
    assert pairs_of(fox, "all")[2:] == [("a photo of a vixen", "a photo of a cat"), ("vixen", "cat")]
    assert pairs_of(replace(FOX, anchor=""), "templates") == [("a photo of a fox", ""), ("fox", "")]


def test_negative_guidance_that_is_held_is_esd_at_the_same_strength(model):
    """At L_u = 0 the target of ε_θ(c) is ε*(∅) − η g*(c): ESD's."""
    seen = seen_by(AllButOne(target="negative", negative_guidance=0.7), model)
    cond, uncond = outputs(model, "fox"), outputs(model, "", "uncond")
    assert_close(seen.uncond + seen.target, ESD(negative_guidance=0.7).target(cond, cond, uncond))


@pytest.mark.parametrize("concept", [Concept("fox", anchor="Fox "), Concept("fox", anchor="FOX  ")])
def test_an_alternative_that_is_the_concept_is_refused(tiny_sd1, concept):
    with pytest.raises(WorkbenchError, match="the same tokens"):
        AllButOne(**SMALL).fit(tiny_sd1, [concept])


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"batch": 0}, {"trajectories": 0}, {"steps": 0}, {"hold": -1.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(WorkbenchError, match=f"{next(iter(wrong))} is"):
        AllButOne(**wrong)
