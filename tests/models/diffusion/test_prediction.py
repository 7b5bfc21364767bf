import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch.testing import assert_close

from workbench.models.diffusion.prediction import (
    aim,
    noise_of_sample,
    noise_of_v,
    noise_of_velocity,
    noised,
    to_noise,
    to_picture,
)


def problem():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 4, 8, 8, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("alpha_bar", [0.1, 0.6, 0.99])
def test_equations_1_and_2_give_back_the_noise_that_was_put_in(alpha_bar):
    x0, noise = problem()
    share = torch.tensor(alpha_bar, dtype=torch.float64)
    latents = share.sqrt() * x0 + (1 - share).sqrt() * noise
    v = share.sqrt() * noise - (1 - share).sqrt() * x0
    assert_close(noise_of_v(v, latents, share), noise)
    assert_close(noise_of_sample(x0, latents, share), noise)


def test_equation_3_gives_back_the_noise_that_was_put_in():
    x0, noise = problem()
    assert_close(noise_of_velocity(noise - x0, 0.7 * x0 + 0.3 * noise, 0.3), noise)


@pytest.mark.parametrize("timestep", [350, torch.tensor([20, 900])])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_noise_is_found_by_the_schedulers_own_definition(kind, timestep):
    scheduler, times = DDIMScheduler(prediction_type=kind), torch.as_tensor(timestep).expand(2)
    x0, noise = problem()
    latents = scheduler.add_noise(x0, noise, times)
    predicted = {"epsilon": noise, "sample": x0, "v_prediction": scheduler.get_velocity(x0, noise, times)}[kind]
    assert_close(to_noise(scheduler, predicted, latents, timestep), noise, atol=1e-5, rtol=1e-5)


def test_noise_of_a_flow_is_found_by_the_schedulers_own_definition():
    scheduler = FlowMatchEulerDiscreteScheduler()
    x0, noise = problem()
    timestep = scheduler.timesteps[300:301]
    latents = scheduler.scale_noise(x0, timestep, noise)
    for time in (float(timestep), timestep.expand(2)):
        assert_close(to_noise(scheduler, noise - x0, latents, time), noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("timestep", [350, torch.tensor([0, 999])])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_noising_and_its_aim_are_the_library_s(kind, timestep):
    scheduler, (x0, noise) = DDIMScheduler(prediction_type=kind), problem()
    times = torch.as_tensor(timestep).expand(2)
    assert_close(noised(scheduler, x0, noise, timestep), scheduler.add_noise(x0, noise, times), atol=1e-6, rtol=1e-6)
    expected = {"epsilon": noise, "sample": x0, "v_prediction": scheduler.get_velocity(x0, noise, times)}[kind]
    assert_close(aim(scheduler, x0, noise, timestep), expected, atol=1e-6, rtol=1e-6)


def test_noising_of_a_flow_and_its_aim():
    scheduler, (x0, noise) = FlowMatchEulerDiscreteScheduler(), problem()
    times = torch.tensor([250.0, 1000.0])
    assert_close(noised(scheduler, x0, noise, times), torch.stack([0.75 * x0[0] + 0.25 * noise[0], noise[1]]))
    assert torch.equal(noised(scheduler, x0, noise, 250.0)[0], noised(scheduler, x0, noise, times)[0])
    assert torch.equal(aim(scheduler, x0, noise, 250.0), noise - x0)


def test_in_half_precision_shares_are_rounded_once():
    """1 − ᾱ of the first timestep is 1e-4: taken in half precision, it would be off by a fifth."""
    scheduler, (x0, noise) = DDIMScheduler(), problem()
    zero = torch.zeros_like(x0)
    got = noised(scheduler, zero.half(), noise.half(), 0).double()
    assert_close(got, (1 - scheduler.alphas_cumprod[0].double()).sqrt() * noise.half().double(), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_picture_of_a_prediction_is_the_librarys_at_each_time_of_a_batch(kind):
    """`pred_original_sample` of DDPM, which takes one time at a time."""
    scheduler = DDPMScheduler(prediction_type=kind, clip_sample=False)
    prediction, latents = problem()
    times = torch.tensor([30, 990])
    got = to_picture(scheduler, prediction, latents, times)
    each = zip(prediction, latents, times, strict=True)
    theirs = [scheduler.step(one[None], int(t), x[None]).pred_original_sample[0] for one, x, t in each]
    assert_close(got, torch.stack(theirs), rtol=1e-5, atol=1e-5)
    x0, noise = problem()
    for time in (350, times):
        aimed = aim(scheduler, x0, noise, time)
        assert_close(to_picture(scheduler, aimed, noised(scheduler, x0, noise, time), time), x0, rtol=1e-6, atol=1e-6)


def test_the_picture_of_a_flow_is_the_one_that_was_noised():
    scheduler, (x0, noise) = FlowMatchEulerDiscreteScheduler(), problem()
    for time in (250.0, torch.tensor([250.0, 900.0])):
        got = to_picture(scheduler, aim(scheduler, x0, noise, time), noised(scheduler, x0, noise, time), time)
        assert_close(got, x0)
