"""The latent attack: a ball on a sphere, gradients through the whole edited sampler, and starts that stay within it."""

import math

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import FOX, double, edits
from tests.attacks.small import EDIT, ROWS, Always
from tests.attacks.test_reach import KINDS, Blocking
from workbench.attacks.attack import Budget
from workbench.attacks.guided import Guided
from workbench.attacks.latent import Latent, RandomStart, Starts, allowed, sampled
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.fitting import inversion
from workbench.models import Begun


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="module")
def every(model, tmp_path_factory):
    return edits(model, tmp_path_factory.mktemp("edits"))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("radius", [0.1, 0.5, 1.9])
def test_what_is_allowed_is_the_nearest_point_of_the_ball_on_the_sphere(radius):
    """Against a search over the angle between the centre and the point, in the plane of both."""
    z0, z = normal(20, 3, 2), normal(20, 3, 2, seed=1)
    z = z0 + torch.linspace(0.01, 3, 20, dtype=torch.float64)[:, None, None] * z
    got = allowed(z, z0, radius)
    norms = z0.flatten(1).norm(dim=1)
    assert_close(got.flatten(1).norm(dim=1), norms)
    assert ((got - z0).flatten(1).norm(dim=1) <= radius * norms * (1 + 1e-12)).all()
    for one, centre, found in zip(z.flatten(1), z0.flatten(1), got.flatten(1), strict=True):
        along = centre / centre.norm()
        across = one - (one @ along) * along
        across = across / across.norm()
        angles = torch.linspace(0, 2 * math.asin(radius / 2), 20001, dtype=torch.float64)
        points = centre.norm() * (angles.cos()[:, None] * along + angles.sin()[:, None] * across)
        assert_close(found, points[(points - one).norm(dim=1).argmin()], rtol=0, atol=2e-3)
        assert (found - one).norm() <= (points - one).norm(dim=1).min() + 1e-9


def test_a_point_within_stays_and_the_centre_too():
    z0 = normal(2, 4, 3)
    near = allowed(z0 + 0.01 * normal(2, 4, 3, seed=1), z0, 0.5)
    assert_close(allowed(near, z0, 0.5), near)
    assert_close(allowed(z0, z0, 0.5), z0)
    assert_close(allowed(7 * z0, z0, 0.5), z0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_to_the_start_through_the_edited_sampler_is_that_of_finite_differences(model, every, kind):
    z, step = normal(2, 4, 16, 16), normal(2, 4, 16, 16, seed=1)
    with model.edited(every[kind]):
        guided, cond = Guided(model, 3.0), model.encode(["a photo of a fox", "a red dog"])

        def value(start):
            return sampled(model, guided, start, cond, steps=3).square().mean()

        leaf = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(leaf), leaf)
        with torch.no_grad():
            both = [value(z + sign * 1e-6 * step) for sign in (1, -1)]
    assert_close((gradient * step).sum(), (both[0] - both[1]) / 2e-6, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_without_an_edit_the_sampler_is_ddim_with_guidance(model, scale):
    with torch.no_grad():
        got = sampled(model, Guided(model, scale), normal(1, 4, 16, 16), model.encode("a fox"), steps=4)
    assert_close(got, inversion.sampled(model, normal(1, 4, 16, 16), "a fox", steps=4, guidance_scale=scale))


def test_a_negative_prompt_is_in_the_sampler(model):
    z = normal(1, 4, 16, 16)
    with model.edited(NegativePrompt().fit(model, [FOX])), torch.no_grad():
        cond = model.encode("fox")
        found = [sampled(model, Guided(model, w), z, cond, steps=2) for w in (3.0, 6.0)]
        with pytest.raises(WorkbenchError, match="leaves guidance out"):
            Guided(model, 1.0)
    assert_close(found[0], found[1])  # the prompt is the negative prompt: there is nothing to guide


def test_the_loss_falls_and_the_start_stays_in_its_ball(tiny_sd1, monkeypatch):
    made = []
    init = Starts.__post_init__
    monkeypatch.setattr(Starts, "__post_init__", lambda self: (init(self), made.append(self))[0])
    attack = Latent(radius=0.3, rate=0.02, sampler_steps=2, steps=20, checks=2)
    attempts = attack.attempts(tiny_sd1, EDIT, ROWS[:2], Always(False), budget=Budget(2, 20), steps=2)
    (search,) = made
    norms = search.own.flatten(1).norm(dim=1)
    assert_close(search.z.flatten(1).norm(dim=1), norms)
    moved = (search.z - search.own).flatten(1).norm(dim=1) / norms
    assert (moved > 0.02).all() and (moved <= 0.3 + 1e-5).all()
    with torch.no_grad(), tiny_sd1.edited(EDIT):
        cond = tiny_sd1.encode([row.prompt for row in ROWS[:2]])
        guided = Guided(tiny_sd1, 7.5)
        first, last = (
            (sampled(tiny_sd1, guided, z, cond, steps=2) - search.x0).square().mean() for z in (search.own, search.z)
        )
    assert last < 0.95 * first
    assert [(one.images, one.gradients) for one in attempts] == [(2, 20)] * 2
    assert isinstance(attempts[0].given, Begun) and attempts[0].prompt == ROWS[0].prompt
    assert_close(attempts[1].given.noise, search.z[[1]])


def test_its_control_starts_as_far_away_in_random_directions(tiny_sd1):
    control = Latent(radius=0.3).control(tiny_sd1, ROWS, ())
    assert control == RandomStart(radius=0.3)
    one, other = (
        control.attempts(tiny_sd1, EDIT, ROWS[:1], Always(False), budget=Budget(images), steps=1)[0].given.noise
        for images in (1, 2)
    )
    own = tiny_sd1.noise([ROWS[0].seed])
    for start in (one, other):
        assert_close(start.norm(), own.norm())
        assert_close((start - own).norm() / own.norm(), torch.tensor(0.3))
    assert (one - other).norm() > 0.3 * own.norm(), "each draw is another direction"


def test_what_blocks_the_prompt_does_not_block_the_start_and_bad_settings_are_refused(tiny_sd1):
    """The text side hands nothing back here; the start does not need it."""
    found = Latent(sampler_steps=1).attempts(
        tiny_sd1, Blocking(-1.0), ROWS[:1], Always(True), budget=Budget(1, 1), steps=2
    )
    assert found[0].success
    for wrong in ({"radius": 2.0}, {"rate": 0.0}, {"sampler_steps": 0}):
        with pytest.raises(WorkbenchError):
            Latent(**wrong)
