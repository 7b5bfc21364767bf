"""What a denoiser predicts, and how to read noise out of it: the one place where this is converted.

With x the latents, x₀ the picture and ε the noise:
    (1)  x = √ᾱ x₀ + √(1−ᾱ) ε                    diffusion (SD1, SD2, SDXL)
    (2)  v = √ᾱ ε − √(1−ᾱ) x₀   ⇒  ε = √ᾱ v + √(1−ᾱ) x        v-prediction (Salimans & Ho 2022, arXiv:2202.00512)
    (3)  x = (1−σ) x₀ + σ ε,  u = ε − x₀  ⇒  ε = x + (1−σ) u    rectified flow (SD3, Flux)
"""

from typing import Any

from torch import Tensor

from workbench.models.diffusion.architecture import Latents


def noise_of_v(v: Latents, latents: Latents, alpha_bar: Tensor) -> Latents:
    """Noise from a v-prediction; `alpha_bar` in [0, 1] is the share of the picture's variance at this timestep."""
    return alpha_bar.sqrt() * v + (1 - alpha_bar).sqrt() * latents  # (2)


def noise_of_sample(x0: Latents, latents: Latents, alpha_bar: Tensor) -> Latents:
    """Noise from a prediction of the picture itself; undefined at ᾱ = 1, where there is no noise."""
    return (latents - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()  # (1)


def noise_of_velocity(velocity: Latents, latents: Latents, sigma: float | Tensor) -> Latents:
    """Noise from the velocity of a rectified flow; `sigma` in [0, 1] is the share of noise."""
    return latents + (1 - sigma) * velocity  # (3)


def to_noise(scheduler: Any, prediction: Latents, latents: Latents, timestep: int | float) -> Latents:
    """The noise that a raw prediction at this timestep (0 … 1000) stands for, by the scheduler's own configuration."""
    kind = scheduler.config.get("prediction_type", "flow")
    if kind == "epsilon":
        return prediction
    if kind == "flow":
        return noise_of_velocity(prediction, latents, timestep / scheduler.config.num_train_timesteps)
    alpha_bar = scheduler.alphas_cumprod[round(timestep)].to(prediction)
    return (noise_of_v if kind == "v_prediction" else noise_of_sample)(prediction, latents, alpha_bar)
