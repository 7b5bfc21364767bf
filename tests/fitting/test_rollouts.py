"""Latents on the way: drawn anew or remembered, each stands beside its own time and the model's own answers there."""

import pytest
import torch
from torch.testing import assert_close

from workbench.fitting.rollouts import Fresh, remembered
from workbench.fitting.trajectories import partway

PROMPTS = ["a fox", "a dog", "a fox"]
HOW = {"steps": 4, "guidance_scale": 3.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def asked(model, seen, row, text):
    """What the model says at one latent alone."""
    role = "cond" if text else "uncond"
    with torch.no_grad():
        return model.noise_prediction(seen.latents[[row]], int(seen.timesteps[row]), model.encode(text, role))[0]


def sources(model):
    path = remembered(model, ["a fox", "a dog"], 3, seed=5, **HOW)
    return {"fresh": Fresh(model, model, **HOW), "remembered": path}


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
@pytest.mark.parametrize("source", ["fresh", "remembered"])
def test_answers_are_those_of_the_model_for_each_prompt_at_its_own_latent_and_time(tiny, kind, source):
    model = tiny(kind)
    rollouts = sources(model)[source]
    for seed in range(3):
        seen = rollouts.at(PROMPTS, generator(seed), uncond=True)
        for row, prompt in enumerate(PROMPTS):
            assert_close(seen.cond[row], asked(model, seen, row, prompt), rtol=1e-4, atol=1e-5)
            assert_close(seen.uncond[row], asked(model, seen, row, ""), rtol=1e-4, atol=1e-5)
    assert rollouts.at(PROMPTS, generator()).uncond is None


def test_remembered_latents_lie_on_trajectories_of_their_own_prompt(tiny_sd1):
    rollouts = sources(tiny_sd1)["remembered"]
    assert list(rollouts.prompts) == ["a fox", "a dog", "a fox"], "in turn"
    drawn = set()
    for seed in range(30):
        seen = rollouts.at(["a dog", "a fox"], generator(seed))
        for row, own in enumerate(([1], [0, 2])):
            k = rollouts.path.timesteps.index(int(seen.timesteps[row]))
            (found,) = [n for n in own if torch.equal(rollouts.path.latents[n, k], seen.latents[row])]
            drawn.add((found, k))
    assert len(drawn) == 12, "each step of each trajectory is drawn some time"
    again = rollouts.at(["a dog"], generator(7))
    assert torch.equal(again.latents, rollouts.at(["a dog"], generator(7)).latents)


def test_every_prompt_has_a_trajectory_however_few_are_wanted(tiny_sd1):
    few = remembered(tiny_sd1, ["a fox", "a dog", "a cat"], 1, seed=0, **HOW)
    assert list(few.prompts) == ["a fox", "a dog", "a cat"] and few.path.latents.shape[:2] == (3, 4)


def test_fresh_latents_are_part_of_the_way_from_noise_of_their_own(tiny_sd1):
    rollouts, times = sources(tiny_sd1)["fresh"], set()
    for seed in range(6):
        seen, own = rollouts.at(["a fox", "a dog"], generator(seed)), generator(seed)
        noise = torch.randn(2, 4, 16, 16, generator=own)
        k = int(torch.randint(4, (), generator=own))
        for row, prompt in enumerate(["a fox", "a dog"]):
            alone = partway(tiny_sd1, prompt, noise[[row]], k, **HOW)
            assert_close(seen.latents[[row]], alone.latents, rtol=1e-4, atol=1e-4)
            assert int(seen.timesteps[row]) == alone.timestep
        times.add(int(seen.timesteps[0]))
    assert len(times) > 2
