"""Pictures that are begun already: the schedule is cut, and the start is what the scheduler itself would have there."""

import diffusers
import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.models import Begun

KINDS = ("sd1", "sd2", "sdxl", "sd3", "flux")


def seen(model, make):
    """Latents and timesteps as the denoiser meets them while `make` draws."""
    path, found = model.architecture.denoiser.path, []
    names = ("sample", "hidden_states")

    def look(module, args, kwargs):
        given = args[0] if args else next(kwargs[name] for name in names if name in kwargs)
        time = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        found.append((given[-1].clone(), float(torch.as_tensor(time).flatten()[0])))

    hook = getattr(model.pipe, path).register_forward_pre_hook(look, with_kwargs=True)
    try:
        return make(), found
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_ones_own_is_the_noise_of_its_seed(tiny, kind):
    model = tiny(kind)
    begun = Begun(["a fox", "a cat"], model.noise([3, 4]))
    assert np.array_equal(model.generate(begun, [0, 0], steps=2), model.generate(["a fox", "a cat"], [3, 4], steps=2))
    other = model.generate(Begun(["a fox"], model.noise([5])), 3, steps=2)
    assert not np.array_equal(other, model.generate("a fox", 3, steps=2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_start_meets_the_last_steps_alone(tiny, kind):
    """Once begun with a picture without noise, as the denoiser sees it, there is only what the schedule adds."""
    model = tiny(kind)
    x0, noise = model.noise([3]), model.noise([4])
    _, whole = seen(model, lambda: model.generate("a fox", 0, steps=6))
    _, late = seen(model, lambda: model.generate(Begun(["a fox"], noise, x0, timestep=500.0), 0, steps=6))
    times = [time for _, time in whole if time <= 500 / (1000 if kind == "flux" else 1)]
    assert 0 < len(times) < len(whole)
    assert sorted({time for _, time in late}) == sorted(set(times))


@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
def test_the_start_is_the_noised_picture_in_the_schedulers_own_scale(tiny, scheduler, monkeypatch):
    """What the denoiser sees first has the variance of equation (1): √ᾱ x₀ + √(1−ᾱ) ε, whatever scale the scheduler
    works in."""
    model = tiny("sd1")
    own = getattr(diffusers, scheduler).from_config(model.pipe.scheduler.config)
    monkeypatch.setattr(model.pipe, "scheduler", own)
    x0, noise = model.noise([3]), model.noise([4])
    begun = Begun(["a fox"], noise, x0, timestep=500.0)
    _, late = seen(model, lambda: model.generate(begun, 0, steps=6, guidance_scale=1.0))
    first, time = late[0]
    alpha = own.alphas_cumprod[round(time)]
    torch.testing.assert_close(first, (alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise)[0], rtol=1e-3, atol=1e-3)


def test_a_first_order_schedule_goes_on_as_if_it_had_come_from_the_beginning(tiny):
    """The latents of a whole run at its third step, handed over as noise and picture, give the same picture."""
    model = tiny("sd2")
    whole, met = seen(model, lambda: model.generate("a fox", 0, steps=6, guidance_scale=1.0))
    latents, time = met[2]
    alpha = model.pipe.scheduler.alphas_cumprod[round(time)]
    noise = torch.zeros_like(latents)
    begun = Begun(["a fox"], noise[None], (latents / alpha.sqrt())[None], timestep=time)
    made = model.generate(begun, 0, steps=6, guidance_scale=1.0)
    np.testing.assert_allclose(made.astype(int), whole.astype(int), atol=1)


def test_pndm_goes_through_its_second_step_twice(tiny):
    model = tiny("sd1")
    begun = Begun(["a fox"], model.noise([4]), model.noise([3]), timestep=500.0)
    _, late = seen(model, lambda: model.generate(begun, 0, steps=10))
    times = [time for _, time in late]
    assert times[1] == times[2] < times[0] and times == sorted(times, reverse=True)
    assert len(set(times)) == len(times) - 1


def test_nothing_is_left_behind(tiny):
    model = tiny("sd1")
    before = model.generate("a fox", 1, steps=3)
    identity = model.identity
    begun = Begun(["a fox"], model.noise([4]), model.noise([3]), timestep=400.0)
    model.generate(begun, 0, steps=3)
    with pytest.raises(WorkbenchError, match="have none at or below"):
        model.generate(Begun(["a fox"], begun.noise, begun.latents, timestep=0.0), 0, steps=1)
    assert model.identity == identity
    assert np.array_equal(model.generate("a fox", 1, steps=3), before)


def test_rows_come_apart_and_together(tiny):
    model = tiny("sd1")
    ids = model.token_ids(["a fox", "a cat"])
    begun = Begun(ids, model.noise([3, 4]), model.noise([5, 6]), timestep=600.0)
    whole = model.generate(begun, [0, 0], steps=3)
    alone = np.concatenate([model.generate(one, 0, steps=3) for one in begun.rows()])
    np.testing.assert_allclose(alone.astype(int), whole.astype(int), atol=1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda model: Begun(["a", "b"], model.noise([1])), "2 prompts and 1 starts"),
        (lambda model: Begun(["a"], model.noise([1]), model.noise([1])[..., :4]), "differ in their shapes"),
        (lambda model: Begun(["a"], model.noise([1]), timestep=500.0), "without latents"),
        (lambda model: Begun(["a"], model.noise([1]), model.noise([1]), timestep=1001.0), "cannot begin at 1001"),
        (lambda model: model.generate(Begun(["a"], model.noise([1])[..., :4]), 0), "begins with"),
    ],
)  # fmt: skip
def test_what_is_no_start_is_refused(tiny, make, says):
    with pytest.raises(WorkbenchError, match=says):
        make(tiny("sd1"))
