"""SLD's equations in float64 against numbers made by hand and a loop over elements, and its rule against a sampler."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.concepts import Concept
from workbench.edits import ComposedEdit
from workbench.edits.interventions import ablation
from workbench.erasure.sld import OFFICIAL, PRESETS, SLD, SafeGuidance, away, safe_guidance, warmup_calls
from workbench.erasure.uce import UCE
from workbench.models.diffusion.guiding import Joined

W, STRONG = 7.5, 60.0  # the second brings out what random weights make of a text
FOX = Concept("fox", anchor="cat")


def numbers(strength="medium", **given):
    return {**PRESETS[strength], "warmup": 0, "warmup_of": None, **given}


def branches(seed=0, spread=0.02):
    """Three predictions that lie around the thresholds of the presets: ε_∅, ε_p, ε_s."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(2, 4, 3, 3, generator=generator, dtype=torch.float64)
    return [shared + spread * torch.randn(shared.shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def guided(uncond, cond):
    """What a pipeline makes of the two branches that it is handed."""
    return uncond + W * (cond - uncond)


def by_element(steps, numbers):
    """The method written out for each element on its own: ε̂ of every step."""
    shape, found = steps[0][0].shape, []
    momentum = [0.0] * math.prod(shape)
    for i, step in enumerate(steps):
        row = []
        for place, (e_0, e_p, e_s) in enumerate(zip(*(branch.flatten().tolist() for branch in step), strict=True)):
            strong = min(1.0, numbers["scale"] * abs(e_p - e_s))
            gate = strong if e_p - e_s < numbers["threshold"] else 0.0
            gamma = gate * (e_s - e_0) + numbers["momentum_scale"] * momentum[place]
            momentum[place] += (1 - numbers["momentum_beta"]) * (gamma - momentum[place])
            row.append(e_0 + W * (e_p - e_0 - (gamma if i >= numbers["warmup"] else 0.0)))
        found.append(torch.tensor(row, dtype=torch.float64).view(shape))
    return found


@pytest.mark.parametrize("strength", PRESETS)
@pytest.mark.parametrize("warmup", [0, 2])
def test_every_strength_is_the_method_element_by_element(strength, warmup):
    told = numbers(strength, warmup=warmup)
    steps, rule = [branches(seed) for seed in range(4)], SafeGuidance(told, steps=4)
    for call, (step, wanted) in enumerate(zip(steps, by_element(steps, told), strict=True)):
        got = guided(*rule(Joined(*step[:2]), step[2], call))
        assert_close(got, wanted, rtol=1e-12, atol=1e-12)
        if call >= warmup:
            assert (got - guided(*step[:2])).abs().max() > 1e-3  # it does something


def test_an_example_by_hand():
    e_0, e_p, e_s, zero = (torch.tensor([x], dtype=torch.float64) for x in (0.0, 0.2, 0.5, 0.0))
    gamma, momentum = away(e_0, e_p, e_s, zero, numbers())
    assert_close((gamma.item(), guided(e_0, e_p - gamma).item(), momentum.item()), (0.5, -2.25, 0.3))
    assert away(e_0, e_p, e_s, momentum, numbers()).gamma.item() == pytest.approx(0.59)


@pytest.mark.parametrize("strength", PRESETS)
def test_a_text_that_the_prompt_says_already_changes_nothing(strength):
    e_0, e_p, _ = branches()
    rule = SafeGuidance(numbers(strength), steps=2)
    for call in range(2):
        assert torch.equal(guided(*rule(Joined(e_0, e_p), e_p.clone(), call)), guided(e_0, e_p))


def test_a_scale_below_one_asks_for_no_branch_and_is_plain_guidance():
    e_0, e_p, _ = branches()
    off = safe_guidance("fox", numbers(scale=0.9))
    assert off.prompt is None and off.begin(4)(Joined(e_0, e_p), None, 3) == Joined(e_0, e_p)
    assert safe_guidance("fox", numbers(scale=1.0)).prompt == "fox"


def test_warm_up_is_plain_guidance_while_the_momentum_gathers():
    e_0, e_p, e_s = branches()
    rule, seen = SafeGuidance(numbers(warmup=2), steps=4), []
    for call in range(3):
        joined = rule(Joined(e_0, e_p), e_s, call)
        assert torch.equal(guided(*joined), guided(e_0, e_p)) == (call < 2)
        seen.append(rule.momentum.clone())
    assert seen[0].abs().max() > 0 and not torch.equal(seen[0], seen[1])
    fresh = SafeGuidance(numbers(), steps=4)(Joined(e_0, e_p), e_s, 2)
    assert not torch.allclose(joined.cond, fresh.cond, rtol=0, atol=1e-4)  # what was gathered counts afterwards


def test_the_ends_of_the_threshold():
    e_0, e_p, e_s = branches()
    ever = torch.ones_like(e_0)
    closed = away(e_0, e_p, e_s, ever, numbers(threshold=-math.inf))
    assert torch.equal(closed.gamma, 0.3 * ever)
    opened = away(e_0, e_p, e_s, ever, numbers(threshold=math.inf, scale=1e300, momentum_scale=0.0))
    assert_close(guided(e_0, e_p - opened.gamma), e_0 + W * (e_p - e_s))


def test_the_gate_compares_with_the_sign_and_is_closed_at_the_threshold():
    e_p = torch.tensor([0.25, 0.249, -0.25, -100.0], dtype=torch.float64)
    zero, one = torch.zeros_like(e_p), torch.ones_like(e_p)
    gamma = away(zero - 1, e_p, zero, zero, numbers(threshold=0.25, momentum_scale=0.0)).gamma
    assert_close(gamma, torch.tensor([0.0, 1, 1, 1], dtype=torch.float64))
    assert torch.equal(away(zero - 1, e_p, zero, one, numbers("weak", threshold=0.25)).gamma, gamma)


def test_half_precision_does_not_overflow_and_keeps_its_momentum_finer():
    e_0, e_p, e_s = (torch.full((1, 4, 1, 1), x, dtype=torch.float16) for x in (0.0, -30.0, 0.5))
    rule = SafeGuidance(numbers("max"), steps=2)
    joined = rule(Joined(e_0, e_p), e_s, 0)
    assert joined.cond.dtype == torch.float16 and rule.momentum.dtype == torch.float32
    assert_close(joined.cond, torch.full_like(e_p, -30.5))


@pytest.mark.parametrize(("steps", "calls"), [(50, 10), (16, 3), (5, 1), (100, 20)])
def test_the_warm_up_goes_with_the_number_of_steps_unless_told_otherwise(steps, calls):
    assert warmup_calls({"warmup": 10, "warmup_of": 50}, steps) == calls
    assert warmup_calls({"warmup": 10, "warmup_of": None}, steps) == 10


def test_a_fit_records_the_five_numbers_and_the_text(tiny_sd1):
    edit = SLD(strength="strong", threshold=0.5).fit(tiny_sd1, [FOX, Concept("dog")])
    assert edit.text == "fox, dog"
    assert {name: edit.settings[name] for name in PRESETS["strong"]} == PRESETS["strong"] | {"threshold": 0.5}
    assert SLD(official=True).fit(tiny_sd1, [FOX]).text == OFFICIAL and len(OFFICIAL.split(", ")) == 19


@pytest.mark.parametrize("given", [{"strength": "hard"}, {"momentum_beta": 1.5}, {"warmup_of": 0}, {"scale": -1.0}])
def test_settings_out_of_range_are_refused(given):
    with pytest.raises(WorkbenchError):
        SLD(**given)


def sampled(model, prompt, seed, steps, edit, other):
    """A sampler written out, with a denoiser call for each branch, and (1) to (6) on top of it."""
    scheduler = type(model.pipe.scheduler).from_config(model.pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    scaled = getattr(scheduler, "scale_model_input", lambda x, t: x)
    texts = [("", "uncond"), (prompt, "cond"), (edit.text, "uncond")]
    x = model.noise([seed]) * getattr(scheduler, "init_noise_sigma", 1.0)
    warmup, momentum = warmup_calls(edit.settings, steps), torch.zeros_like(x)
    with torch.no_grad(), model.edited(*other):
        encoded = [model.encode(text, role) for text, role in texts]
        for call, t in enumerate(scheduler.timesteps):
            e_0, e_p, e_s = (model.noise_prediction(scaled(x, t), t, one) for one in encoded)
            gamma, momentum = away(e_0, e_p, e_s, momentum, edit.settings)
            x = scheduler.step(e_0 + STRONG * (e_p - e_0 - (call >= warmup) * gamma), t, x).prev_sample
        return model.images(x)


def apart(first, second):
    return np.abs(first.astype(int) - second.astype(int)).max()


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3"])
def test_pictures_are_those_of_a_sampler_with_three_branches(tiny, kind):
    model = tiny(kind)
    edit = SLD(strength="strong", warmup=1, warmup_of=None).fit(model, [FOX])
    with model.edited(edit):
        ours = model.generate("a red dog", 3, guidance_scale=STRONG)
    assert apart(ours, sampled(model, "a red dog", 3, 4, edit, ())) <= 1
    assert apart(ours, model.generate("a red dog", 3, guidance_scale=STRONG)) > 3


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3"])
def test_a_picture_is_the_same_alone_and_in_a_batch_and_a_batch_leaves_nothing_to_the_next(tiny, kind):
    model = tiny(kind)
    prompts, seeds = ["a fox", "a painting of a cat"], [4, 5]
    with model.edited(SLD(strength="max").fit(model, [FOX])):
        together = model.generate(prompts, seeds)
        assert np.array_equal(model.generate(prompts, seeds), together)
        assert apart(model.generate(prompts, seeds, batch_size=1), together) <= 1
        assert apart(model.generate(prompts[1], 5)[0], together[1]) <= 1
    assert apart(together, model.generate(prompts, seeds)) > 3


def test_it_composes_with_edits_of_weights_and_of_activations_in_the_prompts_rows(tiny_sd1):
    model = tiny_sd1
    sld = SLD(strength="max").fit(model, [FOX])
    weight = UCE().fit(model, [Concept("dog", anchor="cat")])
    activation = ablation(model, random_sae(model, "unet.mid"), range(0, 96, 3), strength=-3.0, concepts=("fox",))
    with model.edited(ComposedEdit([weight, sld, activation])):
        ours = model.generate("a red dog", 3, guidance_scale=STRONG)
    assert apart(ours, sampled(model, "a red dog", 3, 4, sld, (weight, activation))) <= 1
    for fewer in ((weight,), (activation,)):
        assert apart(ours, sampled(model, "a red dog", 3, 4, sld, fewer)) > 1


def test_two_of_them_act_one_after_the_other(tiny_sd1):
    model = tiny_sd1
    fox, cat = (SLD(strength="max").fit(model, [Concept(name)]) for name in ("fox", "cat"))
    with model.edited(ComposedEdit([fox, cat])):
        both = model.generate("a red dog", 3, guidance_scale=STRONG)
    for one in (fox, cat):
        with model.edited(one):
            assert apart(model.generate("a red dog", 3, guidance_scale=STRONG), both) > 1


def test_guidance_must_be_there_and_be_made_of_branches(tiny_sd1, tiny_flux):
    with tiny_sd1.edited(SLD().fit(tiny_sd1, [FOX])), pytest.raises(WorkbenchError, match=r"guidance scale of 1\.0"):
        tiny_sd1.generate("a fox", 0, guidance_scale=1.0)
    with tiny_sd1.edited(SLD(scale=0.0).fit(tiny_sd1, [FOX])):
        plain = tiny_sd1.generate("a fox", 0, guidance_scale=1.0)
    assert np.array_equal(plain, tiny_sd1.generate("a fox", 0, guidance_scale=1.0))
    with pytest.raises(WorkbenchError, match="does not work on"):
        SLD().fit(tiny_flux, [FOX])
