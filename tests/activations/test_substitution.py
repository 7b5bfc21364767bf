"""Substitution measured on a tiny real pipeline: exact at its two ends, and told apart from the site left alone."""

import numpy as np
import pytest
import torch
from sae_lens import StandardSAE, StandardSAEConfig

from saes import WorkbenchError
from workbench.activations.substitution import distance, measure_substitution
from workbench.models.diffusion.prediction import noised, to_noise

PROMPTS = ["photo of a fox", "photo of a cat", "red dog"]


def mirror(d: int, scale: float = 1.0) -> StandardSAE:
    """An SAE that reconstructs `scale` · x exactly: latents relu(x) and relu(-x)."""
    sae = StandardSAE(StandardSAEConfig(d_in=d, d_sae=2 * d, apply_b_dec_to_input=False))
    eye = torch.eye(d)
    sae.W_enc.data, sae.W_dec.data = torch.cat([eye, -eye], dim=1), scale * torch.cat([eye, -eye])
    return sae.requires_grad_(False)


@pytest.mark.parametrize("site", ["text.1", "unet.mid"])
def test_a_perfect_reconstruction_recovers_everything_and_a_constant_one_nothing(tiny_sd1, site):
    d = tiny_sd1.site(site).channels
    mean = torch.full((d,), 0.3)
    options = {"n_timesteps": 2, "batch_size": 2}
    perfect = measure_substitution(tiny_sd1, mirror(d), site, mean, PROMPTS, **options)
    assert perfect.losses.recovered == pytest.approx(1, abs=1e-3)
    assert perfect.image_distance["substituted"] < 0.003 < perfect.image_distance["ablated"]
    assert perfect.losses.ablated != pytest.approx(perfect.losses.clean, rel=1e-6)
    constant = mirror(d, scale=0.0)
    constant.b_dec.data = mean
    nothing = measure_substitution(tiny_sd1, constant, site, mean, PROMPTS, **options)
    assert nothing.losses.recovered == pytest.approx(0, abs=1e-6)
    assert nothing.image_distance["substituted"] == pytest.approx(nothing.image_distance["ablated"])


def test_the_curve_is_the_loss_at_each_timestep_and_does_not_depend_on_batches(tiny_sd1):
    site, d = "text.1", tiny_sd1.site("text.1").channels
    together, apart = (
        measure_substitution(tiny_sd1, mirror(d), site, torch.zeros(d), PROMPTS, n_timesteps=2, batch_size=size)
        for size in (3, 1)
    )
    assert together.timesteps == (250.0, 750.0)
    latents, noise = tiny_sd1.latents(tiny_sd1.generate(PROMPTS, [0, 1, 2])), tiny_sd1.noise([0, 1, 2])
    for number, timestep in enumerate(together.timesteps):
        noisy = noised(tiny_sd1.pipe.scheduler, latents, noise, timestep)
        with torch.no_grad():
            prediction = tiny_sd1.noise_prediction(noisy, timestep, tiny_sd1.encode(PROMPTS))
        loss = (to_noise(tiny_sd1.pipe.scheduler, prediction, noisy, timestep) - noise).square().mean()
        assert together.curves["clean"][number] == pytest.approx(float(loss), rel=1e-5)
    assert apart.losses.clean == pytest.approx(together.losses.clean, rel=1e-3)
    assert together.losses.clean == pytest.approx(sum(together.curves["clean"]) / 2)


def test_true_pictures_replace_the_models_own(tiny_sd1):
    d = tiny_sd1.site("text.1").channels
    images = np.full((3, tiny_sd1.image_size, tiny_sd1.image_size, 3), 128, dtype=np.uint8)
    own, given = (
        measure_substitution(tiny_sd1, mirror(d), "text.1", torch.zeros(d), PROMPTS, n_timesteps=1, images=pictures)
        for pictures in (None, images)
    )
    assert own.losses.clean != given.losses.clean


@pytest.mark.parametrize("kind", ["sd1", "sd3"])
def test_noising_and_reading_the_noise_back_are_inverse(tiny, kind):
    model = tiny(kind)
    scheduler, noise = model.pipe.scheduler, model.noise([0, 1])
    latents = torch.randn_like(noise)
    noisy = noised(scheduler, latents, noise, 400.0)
    if kind == "sd1":
        recovered = (noisy - scheduler.alphas_cumprod[400].sqrt() * latents) / (
            1 - scheduler.alphas_cumprod[400]
        ).sqrt()
    else:
        recovered = to_noise(scheduler, noise - latents, noisy, 400.0)  # the velocity that the flow is trained on
    torch.testing.assert_close(recovered, noise, atol=1e-5, rtol=1e-4)


def test_distance_is_the_mean_of_root_mean_squares():
    black, grey = np.zeros((2, 4, 4, 3), dtype=np.uint8), np.zeros((2, 4, 4, 3), dtype=np.uint8)
    grey[0] = 51  # a fifth of the range in one picture of two
    assert distance(black, grey) == distance(grey, black) == pytest.approx(0.1)


def test_an_sae_of_another_width_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="takes 3 channels"):
        measure_substitution(tiny_sd1, mirror(3), "text.1", torch.zeros(3), PROMPTS)
    told = (tiny_sd1, mirror(16), "text.1", torch.zeros(16), PROMPTS)
    with pytest.raises(WorkbenchError, match="n_timesteps is 0"):
        measure_substitution(*told, n_timesteps=0)
    with pytest.raises(WorkbenchError, match=f"{len(PROMPTS)} prompts and 1 images"):
        measure_substitution(*told, images=np.zeros((1, 32, 32, 3), np.uint8))
