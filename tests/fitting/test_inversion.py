"""DDIM inversion and purification: there and back again, and what an edit changes on the way."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.tiny_pipelines import save_tiny
from workbench.edits import WeightEdit
from workbench.fitting.inversion import inverted, purified, sampled
from workbench.fitting.trajectories import ddim, trajectories
from workbench.models import load

STEPS = (4, 16, 64)


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def model(request, tmp_path_factory):
    """In float64: one predicts noise, the other v."""
    loaded = load(save_tiny(request.param, tmp_path_factory.mktemp("double") / request.param), device="cpu")
    loaded.pipe.to(torch.float64)
    return loaded


def latents(n=2):
    return torch.randn(n, 4, 16, 16, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("model", ["sd2"], indirect=True)
def test_inversion_and_sampling_give_the_latents_back_the_better_the_more_steps(model):
    """Of a model that predicts v: random noise predictions are divided by √ᾱ, and errors explode."""
    x = latents()
    errors = []
    for steps in STEPS:
        noise = inverted(model, x, "a fox", steps=steps)
        errors.append(float((sampled(model, noise, "a fox", steps=steps) - x).square().mean().sqrt()))
        assert not torch.allclose(noise, x, atol=0.1), "the noise is another thing than the picture"
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.1


def test_each_step_of_inversion_goes_to_the_next_noisier_timestep_with_what_the_model_reads(model):
    """(1) by hand for three steps."""
    x, prompt = latents(1), model.encode("a fox")
    scheduler = ddim(model, 3)
    t3, t2, t1 = scheduler.timesteps.tolist()
    a0, (a1, a2, a3) = scheduler.final_alpha_cumprod, scheduler.alphas_cumprod[[t1, t2, t3]]
    expected = x
    for read_at, here, there in ((t1, a0, a1), (t1, a1, a2), (t2, a2, a3)):
        eps = model.predicted_noise(expected, read_at, prompt)
        x0 = (expected - (1 - here).sqrt() * eps) / here.sqrt()
        expected = there.sqrt() * x0 + (1 - there).sqrt() * eps
    assert_close(inverted(model, x, "a fox", steps=3), expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sampling_passes_through_the_latents_of_a_trajectory(tiny_sd1, scale):
    path = trajectories(tiny_sd1, ["a fox"], [3], steps=5, seen=5, guidance_scale=scale)
    end = sampled(tiny_sd1, path.latents[:, 0], "a fox", steps=5, guidance_scale=scale)
    scheduler, (x, t) = ddim(tiny_sd1, 5), (path.latents[:, 4], path.timesteps[4])
    with torch.no_grad():
        cond, uncond = (tiny_sd1.noise_prediction(x, t, tiny_sd1.encode(*one)) for one in (("a fox",), ("", "uncond")))
    last = scheduler.step(uncond + scale * (cond - uncond), t, x).prev_sample
    assert_close(end, last, rtol=1e-4, atol=1e-4)


def test_purification_inverts_with_the_model_and_draws_again_with_the_edit(tiny_sd1):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    name = next(name for name in tiny_sd1.prompt_maps() if ".to_v." in name)
    delta = 5.0 * torch.randn(tiny_sd1.parameter(name).shape, generator=torch.Generator().manual_seed(0))
    edit = WeightEdit(
        tensors={f"{name}:delta": delta}, settings={}, method="by hand", concepts=["fox"],
        base_fingerprint=tiny_sd1.fingerprint,
    )  # fmt: skip
    noise = inverted(tiny_sd1, tiny_sd1.latents(images), "a fox", steps=4)
    with tiny_sd1.edited(edit):
        expected = tiny_sd1.images(sampled(tiny_sd1, noise, "a fox", steps=4, guidance_scale=2.0))
    got = purified(tiny_sd1, edit, images, "a fox", steps=4, guidance_scale=2.0)
    assert np.array_equal(got, expected)
    assert not np.array_equal(got, purified(tiny_sd1, [], images, "a fox", steps=4, guidance_scale=2.0))
    assert not np.array_equal(got, purified(tiny_sd1, edit, images, "a fox", steps=4))


def test_a_picture_of_the_toy_survives_purification_without_an_edit():
    """With guidance off it comes back; the noise that it is drawn from again is noise, and not the picture."""
    model = load("toy")
    images = model.generate(["a red cat", "a blue house"], [0, 1])
    latents_ = model.latents(images)
    noise = inverted(model, latents_, "a red cat", steps=30)
    assert 0.8 < float(noise.std()) < 1.2
    plain = model.images(latents_).astype(float)
    back = purified(model, [], images[:1], "a red cat", steps=30, guidance_scale=1.0)
    other = np.abs(plain[1] - plain[0]).mean()
    assert np.abs(back[0] - plain[0]).mean() < 0.2 * other
