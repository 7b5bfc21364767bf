"""Trajectories: every latent stands beside the timestep at which the model sees it."""

import pytest
import torch
from torch.testing import assert_close

from workbench.fitting.trajectories import partway, trajectories
from workbench.models import load


def guided_noise(model, x, t, prompt, scale):
    """Noise with guidance, from two separate calls."""
    with torch.no_grad():
        cond, uncond = (
            model.to_noise(model.noise_prediction(x, t, one), x, t)
            for one in (model.encode(prompt), model.encode("", role="uncond"))
        )
    return uncond + scale * (cond - uncond)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_each_latent_follows_from_the_one_before_at_its_own_timestep(tiny, kind, scale):
    """x_{t−1} = √ᾱ′ x₀ + √(1−ᾱ′) ε with ε predicted anew at (x_t, t): an order of one off would break it."""
    model = tiny(kind)
    path = trajectories(model, ["a fox", "a dog"], [3, 4], steps=5, seen=4, guidance_scale=scale)
    assert path.latents.shape[:2] == (2, 4) and path.timesteps == sorted(path.timesteps, reverse=True)
    assert_close(path.latents[:, 0], model.noise([3, 4]))
    alphas = model.pipe.scheduler.alphas_cumprod
    for k in range(3):
        x, t = path.latents[:1, k], path.timesteps[k]
        eps = guided_noise(model, x, t, "a fox", scale)
        here, there = alphas[t], alphas[path.timesteps[k + 1]]
        x0 = (x - (1 - here).sqrt() * eps) / here.sqrt()
        assert_close(path.latents[:1, k + 1], there.sqrt() * x0 + (1 - there).sqrt() * eps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rescale", [0.7, 1.0])
def test_rescaled_guidance_has_the_spread_of_the_conditional_prediction(tiny, rescale):
    """(2) written out in float64 for each picture; at φ = 1 each prediction is as spread as without guidance."""
    model = load(tiny("sdxl").folder, device="cpu", dtype=torch.float64)
    how = {"steps": 4, "guidance_scale": 3.0, "guidance_rescale": rescale}
    path = trajectories(model, ["a fox", "a dog"], [3, 4], seen=2, predictions=True, **how)
    here, there = (model.pipe.scheduler.alphas_cumprod[t].double() for t in path.timesteps)
    for i, prompt in enumerate(["a fox", "a dog"]):
        x, cond, uncond = path.latents[i, 0], path.cond[i, 0], path.uncond[i, 0]
        guided = uncond + 3 * (cond - uncond)
        eps = guided * (rescale * cond.std() / guided.std() + 1 - rescale)
        assert_close(
            there.sqrt() * (x - (1 - here).sqrt() * eps) / here.sqrt() + (1 - there).sqrt() * eps, path.latents[i, 1]
        )
        assert rescale < 1 or eps.std().item() == pytest.approx(cond.std().item())
        assert abs(guided.std() / cond.std() - 1) > 1e-3
        assert_close(partway(model, prompt, model.noise([3 + i]).double(), 1, **how).latents[0], path.latents[i, 1])


def test_a_trajectory_depends_on_its_own_prompt_and_seed_and_leaves_the_scheduler_alone(tiny_sd1):
    before = dict(vars(tiny_sd1.pipe.scheduler))
    many = trajectories(tiny_sd1, ["a fox"] * 17, range(17), steps=4, seen=2)
    alone = trajectories(tiny_sd1, ["a fox"], [16], steps=4, seen=2)
    assert_close(many.latents[16:], alone.latents)
    after = vars(tiny_sd1.pipe.scheduler)
    assert after.keys() == before.keys() and all(after[name] is value for name, value in before.items())


def test_the_unconditional_role_reads_the_empty_prompt_as_guidance_does(tiny_sdxl):
    """SDXL reads zeros there, and something else in an empty conditional prompt."""
    uncond = trajectories(tiny_sdxl, [""], [0], steps=3, seen=2, role="uncond").latents
    follows = trajectories(tiny_sdxl, ["a fox"], [0], steps=3, seen=2, guidance_scale=0.0).latents
    assert_close(uncond, follows)
    assert not torch.allclose(uncond, trajectories(tiny_sdxl, [""], [0], steps=3, seen=2).latents, atol=1e-5)
