"""Gradients reach prompts through every kind of edit, as finite differences in float64 say; what blocks them is
refused."""

from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import FOX, GUIDED, double, edits
from tests.evaluation.small import Scaled
from workbench.attacks.reach import Noisy, check_reached, reaching, unedited
from workbench.erasure.sld import SLD, SafeGuidance, warmup_calls
from workbench.hooks import SiteEdit
from workbench.models import TokenEmbeddings
from workbench.models.diffusion.guiding import Joined
from workbench.models.diffusion.prediction import noised

PROMPTS = ["a photo of a fox", "a red dog"]
KINDS = (
    "weight", "activation", "itd", "detect_replace", "adapter", "gated adapter", "guidance", "prompt", "composed",
)  # fmt: skip
W = 7.5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="module")
def every(model, tmp_path_factory):
    return edits(model, tmp_path_factory.mktemp("edits"))


def seen(timestep=600, rows=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Noisy(*torch.randn(2, rows, 4, 16, 16, generator=draw, dtype=torch.float64), timestep)


def value(reach, given, leaf, at):
    """The loss of attacks, summed: ‖ε − ε̂‖²."""
    answer = reach(at, TokenEmbeddings(given.ids, (leaf,)), (None,) * len(at.x0))
    return (at.noise - answer.noise).square().sum()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_through_an_edit_is_that_of_finite_differences(model, every, kind):
    """Of a prompt's embeddings, with hard decisions as they are; and it is another one than without the edit."""
    given = model.token_embeddings(PROMPTS)
    leaf = given.embeddings[0].detach().requires_grad_()
    step = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with reaching(model, every[kind], "hard") as reach:
        (gradient,) = torch.autograd.grad(value(reach, given, leaf, seen()), leaf)
        with torch.no_grad():
            both = [value(reach, given, leaf + sign * 1e-6 * step, seen()) for sign in (1, -1)]
    assert_close((gradient * step).sum(), (both[0] - both[1]) / 2e-6, rtol=1e-5, atol=1e-8)
    plain = unedited(model, every[kind])
    (without,) = torch.autograd.grad(value(plain, given, leaf, seen()), leaf)
    assert (gradient - without).norm() > 1e-3 * without.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_reached_is_what_the_edited_model_predicts(model, every, kind):
    """With text, so that gates decide as they do for a picture; guidance as the pipeline's formula has it."""
    with reaching(model, every[kind], "hard") as reach, torch.no_grad():
        got = reach(seen(), PROMPTS, (None, None)).noise
    x = noised(model.pipe.scheduler, *seen())
    with model.edited(every[kind]), torch.no_grad():
        cond = model.noise_prediction(x, 600, model.encode(PROMPTS))
        if kind == "prompt":
            uncond = model.noise_prediction(x, 600, model.encode("fox", "uncond"))
            cond = uncond + W * (cond - uncond)
        elif kind not in GUIDED and kind != "composed":
            assert_close(got, cond)
            return
        else:
            uncond, text = (model.noise_prediction(x, 600, model.encode(one, "uncond")) for one in ("", "fox"))
            rule = SafeGuidance(leaf(every[kind]).settings, model.defaults.steps)
            uncond, cond = rule(Joined(uncond, cond), text, 1)  # of 4 calls the second, at t = 600
            cond = uncond + W * (cond - uncond)
    assert_close(got, cond)


def leaf(edit):
    return edit.leaves()[-1]


def test_a_rule_is_told_the_call_of_a_sampler_and_not_that_of_an_optimiser(model):
    """SLD warms up for 2 of 4 calls: until then, plain guidance, however often it is asked."""
    edit = SLD(strength="strong", warmup=2, warmup_of=None).fit(model, [FOX])
    assert warmup_calls(edit.settings, model.defaults.steps) == 2
    plain = unedited(model, edit)
    with torch.no_grad(), reaching(model, edit, "hard") as reach:
        for timestep, warm in ((990, True), (510, True), (490, False), (510, True), (10, False)):
            same = torch.allclose(*(one(seen(timestep), PROMPTS, (None, None)).noise for one in (reach, plain)))
            assert same == warm, timestep


def test_the_history_of_a_rule_is_the_momentum_of_noisier_calls(model):
    edit = SLD(strength="strong", warmup=0).fit(model, [FOX])
    at, told = seen(400), edit.settings
    with torch.no_grad(), reaching(model, edit, "hard", history=2) as reach:
        got = reach(at, PROMPTS, (None, None)).noise
    with torch.no_grad():
        texts = [model.encode(PROMPTS), model.encode("", "uncond"), model.encode("fox", "uncond")]
        rule = SafeGuidance(told, model.defaults.steps)
        for timestep, call in ((999, 0), (700, 1), (400, 2)):  # half way from 999 to 400 is 699.5
            x = noised(model.pipe.scheduler, at.x0, at.noise, timestep)
            cond, uncond, text = (model.noise_prediction(x, timestep, one) for one in texts)
            joined = rule(Joined(uncond, cond), text, call)
    wanted = joined.uncond + W * (joined.cond - joined.uncond)
    assert_close(got, wanted)
    with torch.no_grad(), reaching(model, edit, "hard") as reach:
        assert not torch.allclose(reach(at, PROMPTS, (None, None)).noise, wanted)


def test_a_model_that_predicts_v_is_asked_for_its_noise(tiny_sd2):
    at = Noisy(*(one.float() for one in seen()[:2]), 600)
    with torch.no_grad(), reaching(tiny_sd2, Scaled(-1.0), "hard") as reach:
        got = reach(at, PROMPTS, (None, None)).noise
        x = noised(tiny_sd2.pipe.scheduler, *at)
        assert_close(got, tiny_sd2.predicted_noise(x, 600, tiny_sd2.encode(PROMPTS)))


@dataclass(frozen=True)
class Blocking(Scaled):
    """An edit that hands its activation on as a number."""

    def installed(self, model):
        return model.session(edits=[SiteEdit(model.site("text.0"), lambda x, clock: x.detach() * self.factor)])


def test_what_gradients_cannot_pass_is_refused_in_a_sentence(tiny_sd1):
    with pytest.raises(WorkbenchError, match="P4D follows gradients, and through this edit none comes back"):
        check_reached(tiny_sd1, Blocking(-1.0), "a fox", "P4D", "hard")
    check_reached(tiny_sd1, Scaled(-1.0), "a fox", "P4D", "hard")
    assert not tiny_sd1.is_edited


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_edit_is_let_through(model, every, kind):
    for treatment in ("hard", "straight_through", "two_branch"):
        check_reached(model, every[kind], "a photo of a fox", "P4D", treatment)
