"""Noised latents, and what a denoiser of either kind is trained to predict of them.

With z₀ the latent of a picture, ε noise and ᾱ the picture's share of the variance:
    (1)  z_t = √ᾱ z₀ + √(1−ᾱ) ε
    (2)  u = ε,   or √ᾱ ε − √(1−ᾱ) z₀ for a model that predicts v,   or z₀ for one that predicts it
"""

from jaxtyping import Float
from torch import Tensor

from workbench.models.diffusion.architecture import Latents


def noised_and_target(
    clean: Latents, noise: Latents, alpha_bar: Float[Tensor, " rows"], predicts: str
) -> tuple[Latents, Latents]:
    """z_t by (1) and u by (2); `predicts` is the schedule's "epsilon", "v_prediction" or "sample"."""
    share = alpha_bar.to(clean)[:, None, None, None]
    z = share.sqrt() * clean + (1 - share).sqrt() * noise  # (1)
    v = share.sqrt() * noise - (1 - share).sqrt() * clean
    return z, {"epsilon": noise, "v_prediction": v, "sample": clean}[predicts]  # (2)
