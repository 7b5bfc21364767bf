import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.fitting.accounting import LiveBytes
from workbench.hooks import SiteEdit
from workbench.models.diffusion import autoencoder

KINDS = ["sd1", "sd2", "sdxl", "sd3", "flux"]
PROMPTS = ["a fox", "a photo of a cat", "a red dog", "a painting by bear"] * 4


@pytest.fixture
def scheduled(tiny_sd1):
    """`scheduled(Scheduler)` → tiny_sd1 with that scheduler until the test ends."""
    original = tiny_sd1.pipe.scheduler

    def use(scheduler):
        tiny_sd1.pipe.scheduler = scheduler.from_config(original.config)
        return tiny_sd1

    yield use
    tiny_sd1.pipe.scheduler = original


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "flux"])
def test_an_autoencoder_sees_many_pixels_a_picture_at_a_time_and_few_together(tiny, kind, monkeypatch):
    """With the same outcome, up to a grey level, for less memory."""
    model, rows = tiny(kind), []
    watch = model.pipe.vae.decoder.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    images = model.generate(PROMPTS[:4], range(4))
    latents, plain = model.latents(images), model.images(model.latents(images))
    with LiveBytes() as together:
        model.images(latents)
    monkeypatch.setattr(autoencoder, "AT_ONCE", 4 * 32 * 32 - 1)
    with LiveBytes() as alone:
        assert grey_levels_apart(model.images(latents), plain) <= 1
    assert grey_levels_apart(model.generate(PROMPTS[:4], range(4)), images) <= 1
    assert_close(model.latents(images), latents, rtol=1e-4, atol=1e-5)
    watch.remove()
    assert rows == [4, 4, 4, *[1] * 8] and not model.pipe.vae.use_slicing
    assert alone.peak < 0.4 * together.peak


def grey_levels_apart(first, second):
    return np.abs(first.astype(int) - second.astype(int)).max()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_the_same_alone_and_in_any_batch(tiny, kind):
    model, seeds = tiny(kind), list(range(16))
    together = model.generate(PROMPTS, seeds)
    assert together.shape == (16, 32, 32, 3) and together.dtype == np.uint8
    assert grey_levels_apart(together[0], together[4]) > 10, "same prompt, other seed"
    assert grey_levels_apart(model.generate(PROMPTS[5], seeds[5])[0], together[5]) <= 1
    assert grey_levels_apart(model.generate(PROMPTS[::-1], seeds[::-1])[::-1], together) <= 1
    assert grey_levels_apart(model.generate(PROMPTS, seeds, batch_size=3), together) <= 1


@pytest.mark.parametrize("scheduler", [EulerAncestralDiscreteScheduler, DDPMScheduler])
def test_the_noise_of_stochastic_schedulers_is_each_images_own(scheduled, scheduler):
    model = scheduled(scheduler)
    together = model.generate(PROMPTS, range(16))
    assert grey_levels_apart(model.generate(PROMPTS[5], 5)[0], together[5]) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_those_that_the_pipeline_itself_makes(tiny, kind):
    """Encoding prompts ourselves, with known roles, must not change what the pipeline's own `__call__` does."""
    model = tiny(kind)
    own = model.pipe(
        "a photo of a fox", generator=torch.Generator().manual_seed(3), guidance_scale=4.0, num_inference_steps=3,
        height=32, width=32, output_type="np",
        **({"max_sequence_length": 16} if kind in ("sd3", "flux") else {}),
    ).images  # fmt: skip
    ours = model.generate("a photo of a fox", 3, guidance_scale=4.0, steps=3)
    assert grey_levels_apart(ours, (own * 255).round()) <= 1


def test_prompts_and_seeds_are_paired_or_broadcast(tiny_sd1):
    model = tiny_sd1
    one_by_one = model.generate(["a fox", "a cat"], [4, 5])
    assert grey_levels_apart(model.generate("a fox", [4, 5])[0], one_by_one[0]) <= 1
    assert grey_levels_apart(model.generate(["a fox", "a cat"], 5)[1], one_by_one[1]) <= 1
    with pytest.raises(WorkbenchError, match="2 prompts and 3 seeds"):
        model.generate(["a fox", "a cat"], [1, 2, 3])
    with pytest.raises(WorkbenchError, match="There are no prompts"):
        model.generate([], [])
    with pytest.raises(WorkbenchError, match="batch of 0"):
        model.generate("a fox", 1, batch_size=0)


def clocks(model, **settings):
    text, denoiser = "text.0", "unet.mid" if hasattr(model.pipe, "unet") else "transformer.0"
    with model.session(record=[text, denoiser]) as session:
        model.generate(["a fox", "a cat"], [1, 2], steps=2, **settings)
    return [[clock for clock, _ in session.records[alias]] for alias in (text, denoiser)]


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3"])
def test_roles_with_guidance_are_unconditional_rows_then_conditional_ones(tiny, kind):
    text, denoiser = clocks(tiny(kind))
    assert sorted(clock.roles for clock in text) == [("cond", "cond"), ("uncond",)]
    assert all(clock.roles == ("uncond", "uncond", "cond", "cond") for clock in denoiser)
    assert denoiser[0].mask("cond").tolist() == [False, False, True, True]
    assert all(clock.token_ids.shape[0] == len(clock.roles) and clock.timestep is None for clock in text)
    assert all(clock.token_ids is None for clock in denoiser)


@pytest.mark.parametrize(("kind", "guidance_scale"), [("sd1", 1.0), ("sdxl", 1.0), ("sd3", 0.0), ("flux", 3.5)])
def test_without_a_second_row_all_rows_are_conditional(tiny, kind, guidance_scale):
    text, denoiser = clocks(tiny(kind), guidance_scale=guidance_scale)
    assert [clock.roles for clock in text] == [("cond", "cond")]
    assert all(clock.roles == ("cond", "cond") for clock in denoiser)


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_called_conditional_is_the_one_that_the_prompt_made(tiny, kind):
    model = tiny(kind)
    out = "unet.out" if hasattr(model.pipe, "unet") else "transformer.out"
    with model.session(record=[out]) as generated:
        model.generate("a photo of a fox", 7, steps=2)
    clock, activation = generated.records[out][0]
    latents = model.noise([7])
    scheduler = model.pipe.scheduler
    if hasattr(scheduler, "init_noise_sigma"):
        scheduler.set_timesteps(2)
        latents = scheduler.scale_model_input(latents * scheduler.init_noise_sigma, scheduler.timesteps[0])
    for role, prompt in (("cond", "a photo of a fox"), ("uncond", "")):
        with model.session(record=[out]) as predicted:
            model.noise_prediction(latents, clock.timestep, model.encode(prompt, role=role))
        step = predicted.records[out][0][0].step
        assert (step.index, step.of) == (0, None), "a direct call belongs to no picture"
        if role in clock.roles:
            assert_close(activation[clock.mask(role)], predicted.records[out][0][1], atol=1e-4, rtol=1e-4)


def test_a_call_is_no_timestep_and_a_timestep_no_call(scheduled, tiny_sd1):
    """PNDM repeats a timestep in its second call; Heun calls twice at each one but the last."""
    _, pndm = clocks(tiny_sd1)
    assert [clock.call for clock in pndm] == [0, 1, 2]
    assert pndm[1].timestep == pndm[2].timestep < pndm[0].timestep
    _, heun = clocks(scheduled(HeunDiscreteScheduler))
    assert [clock.call for clock in heun] == [0, 1, 2]
    steps = [clock.step for clock in (*pndm, *heun)]
    assert [(step.index, step.of) for step in steps] == [(0, 3), (1, 3), (2, 3)] * 2, "two steps were asked for"
    assert heun[0].timestep > heun[1].timestep == heun[2].timestep


def test_the_clock_counts_timesteps_in_units_of_the_training_schedule(tiny):
    for kind in KINDS:
        _, denoiser = clocks(tiny(kind))
        assert 400 < denoiser[0].timestep <= 1000, kind


def test_calls_start_at_0_in_every_batch(tiny_sd2):
    with tiny_sd2.session(record=["unet.mid"]) as session:
        tiny_sd2.generate("a fox", range(3), steps=2, batch_size=2)
    assert [clock.call for clock, _ in session.records["unet.mid"]] == [0, 1, 0, 1]


def test_a_negative_prompt_matters_where_there_are_unconditional_rows(tiny_sd1, tiny_flux):
    plain, negative = (tiny_sd1.generate("a fox", 1, negative_prompt=text) for text in ("", "a cat"))
    assert grey_levels_apart(plain, negative) > 0
    with pytest.raises(WorkbenchError, match="without unconditional rows"):
        tiny_flux.generate("a fox", 1, negative_prompt="a cat")


def test_a_prompt_beyond_the_limit_is_cut_and_said_so(tiny_sd1):
    long = "a photo of a fox a cat a dog a bear a painting"
    with pytest.warns(UserWarning, match=r"1 of 2 prompts are longer than 12 tokens and were cut, first 'a photo"):
        cut = tiny_sd1.encode(["a fox", long])
    assert torch.equal(cut.embeddings[1], tiny_sd1.encode("a photo of a fox a cat a dog a").embeddings[0])


def test_progress_goes_over_batches(tiny_sd1):
    seen = []

    def progress(items, label="", total=None):
        seen.append((label, len(items)))
        yield from items

    tiny_sd1.generate("a fox", range(5), steps=1, batch_size=2, progress=progress)
    assert seen == [("images", 3)]


class Shift:
    """An edit that adds a direction to a site, on conditional rows. (A norm would undo one equal in all channels.)"""

    def __init__(self, alias: str, amount: float) -> None:
        self.alias, self.amount = alias, amount

    def installed(self, model):
        def transform(activation, clock):
            direction = self.amount * torch.linspace(-1, 1, activation.shape[-1])
            return activation + direction * clock.mask("cond")[:, None, None]

        return model.session(edits=[SiteEdit(model.site(self.alias), transform)])


def test_edited_composes_nests_and_gives_the_model_back(tiny_sd1):
    model = tiny_sd1
    plain = model.generate("a fox", 1)
    with model.edited(Shift("text.1", 5.0)) as same:
        assert same is model
        once = model.generate("a fox", 1)
        with model.edited(Shift("unet.mid", 5.0)):
            nested = model.generate("a fox", 1)
    with model.edited(Shift("text.1", 5.0), Shift("unet.mid", 5.0)):
        composed = model.generate("a fox", 1)
    assert grey_levels_apart(once, plain) > 0 and grey_levels_apart(nested, once) > 0
    assert (nested == composed).all()
    with pytest.raises(KeyError), model.edited(Shift("text.1", 5.0)):
        raise KeyError
    with model.edited():
        assert (model.generate("a fox", 1) == plain).all()


def test_an_edit_of_text_leaves_the_unconditional_prompt_alone(tiny_sd1):
    with tiny_sd1.edited(Shift("text.1", 5.0)):
        uncond, cond = (tiny_sd1.encode("a fox", role=role).embeddings for role in ("uncond", "cond"))
    assert torch.equal(uncond, tiny_sd1.encode("a fox").embeddings) and not torch.equal(cond, uncond)
