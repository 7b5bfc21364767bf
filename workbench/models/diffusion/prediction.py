"""Noised latents, what a denoiser predicts of them, and how to read noise and picture out of it: the one place for all.

With x the latents, x₀ the picture and ε the noise:
    (1)  x = √ᾱ x₀ + √(1−ᾱ) ε                    diffusion (SD1, SD2, SDXL)
    (2)  v = √ᾱ ε − √(1−ᾱ) x₀   ⇒  ε = √ᾱ v + √(1−ᾱ) x        v-prediction (Salimans & Ho 2022, arXiv:2202.00512)
                                    x₀ = √ᾱ x − √(1−ᾱ) v
    (3)  x = (1−σ) x₀ + σ ε,  u = ε − x₀  ⇒  ε = x + (1−σ) u    rectified flow (SD3, Flux)
                                             x₀ = x − σ u
"""

from typing import Any

import torch
from jaxtyping import Real
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.models.diffusion.architecture import Latents

Time = int | float | Real[Tensor, " rows"]  # of the training schedule, 0 … 1000: one for all rows, or one each


def noised(scheduler: Any, x0: Latents, noise: Latents, timestep: Time) -> Latents:
    """Latents as they are at a timestep of the training schedule.

    Args:
        scheduler: Says whether this is diffusion (1) or a rectified flow (3), and knows ᾱ.
        x0: Latents of pictures.
        noise: Standard normal, of the same shape.
        timestep: From 0 (picture) to 1000 (noise); ᾱ is known at whole ones, so others are rounded.

    Returns:
        x, in the dtype of `x0`.
    """
    picture, share = _shares(scheduler, timestep, x0)
    return picture * x0 + share * noise  # (1), (3)


def aim(scheduler: Any, x0: Latents, noise: Latents, timestep: Time) -> Latents:
    """What the denoiser is trained to predict at `noised(scheduler, x0, noise, timestep)`; arguments as there."""
    kind = scheduler.config.get("prediction_type", "flow")
    if kind == "v_prediction":
        picture, share = _shares(scheduler, timestep, x0)
        return picture * noise - share * x0  # (2)
    return {"epsilon": noise, "sample": x0, "flow": noise - x0}[kind]  # (3)


def check_noise_schedule(scheduler: Any) -> None:
    """Refuses a scheduler whose latents are not those of (1) or (3), such as the EDM's of Playground, which scales what
    its denoiser gets and says by the noise.

    Args:
        scheduler: That of the model.

    Raises:
        WorkbenchError: It has a prediction type and no ᾱ.
    """
    if "prediction_type" in scheduler.config and not hasattr(scheduler, "alphas_cumprod"):
        raise WorkbenchError(
            f"A {type(scheduler).__name__} has no noise schedule ᾱ, by which latents could be noised and read.",
            "Take a method that needs none, such as UCE, or a model with another scheduler.",
        )


def _shares(scheduler: Any, timestep: Time, like: Latents) -> tuple[Tensor, Tensor]:
    """The factors of picture and noise, √ᾱ and √(1−ᾱ), or 1−σ and σ; a column each where every row has its time."""
    time = _columns(timestep)
    if "prediction_type" not in scheduler.config:
        sigma = time / scheduler.config.num_train_timesteps
        return (1 - sigma).to(like), sigma.to(like)
    check_noise_schedule(scheduler)
    known = scheduler.alphas_cumprod
    alpha_bar = known[time.round().long()].to(torch.promote_types(known.dtype, like.dtype))
    return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)


def _columns(timestep: Time) -> Tensor:
    """In float64 on the CPU, as a factor of latents: one, or one for each row."""
    return torch.as_tensor(timestep, dtype=torch.float64)[..., None, None, None].cpu()


def noise_of_v(v: Latents, latents: Latents, alpha_bar: Tensor) -> Latents:
    """Noise from a v-prediction; `alpha_bar` in [0, 1] is the share of the picture's variance at this timestep."""
    return alpha_bar.sqrt() * v + (1 - alpha_bar).sqrt() * latents  # (2)


def noise_of_sample(x0: Latents, latents: Latents, alpha_bar: Tensor) -> Latents:
    """Noise from a prediction of the picture itself; undefined at ᾱ = 1, where there is no noise."""
    return (latents - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()  # (1)


def noise_of_velocity(velocity: Latents, latents: Latents, sigma: float | Tensor) -> Latents:
    """Noise from the velocity of a rectified flow; `sigma` in [0, 1] is the share of noise."""
    return latents + (1 - sigma) * velocity  # (3)


def to_noise(scheduler: Any, prediction: Latents, latents: Latents, timestep: Time) -> Latents:
    """The noise that a raw prediction at this timestep (0 … 1000) stands for, by the scheduler's own configuration."""
    check_noise_schedule(scheduler)
    kind = scheduler.config.get("prediction_type", "flow")
    if kind == "epsilon":
        return prediction
    if kind == "flow":
        sigma = _columns(timestep) / scheduler.config.num_train_timesteps
        return noise_of_velocity(prediction, latents, sigma.to(prediction))
    alpha_bar = scheduler.alphas_cumprod[_columns(timestep).round().long()].to(prediction)
    return (noise_of_v if kind == "v_prediction" else noise_of_sample)(prediction, latents, alpha_bar)


def to_picture(scheduler: Any, prediction: Latents, latents: Latents, timestep: Time) -> Latents:
    """The picture x̂₀ that a raw prediction stands for, in one step; arguments as in `to_noise`.

    Of a prediction of noise it is multiplied by 1/√ᾱ: 15 times at the last timestep of Stable Diffusion.
    """
    kind = scheduler.config.get("prediction_type", "flow")
    picture, share = _shares(scheduler, timestep, prediction)
    if kind == "epsilon":
        return (latents - share * prediction) / picture  # (1)
    if kind == "v_prediction":
        return picture * latents - share * prediction  # (2)
    return prediction if kind == "sample" else latents - share * prediction  # (3)
