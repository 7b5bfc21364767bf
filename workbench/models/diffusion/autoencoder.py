"""Images to latents and back, by the pipeline's own autoencoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from workbench.models.diffusion.architecture import Latents
from workbench.models.images import Images, to_uint8

AT_ONCE = 2**20  # pixels of the pictures that go through an autoencoder together: four of 512 × 512


@torch.no_grad()
def encode(vae: Any, images: Images) -> Latents:
    """The mean of each image's latent distribution, shifted and scaled as the denoiser knows it."""
    with _precise(vae), sliced(vae, images[..., 0].size):
        pixels = torch.from_numpy(images).to(vae.device, vae.dtype).permute(0, 3, 1, 2) / 127.5 - 1
        mean, deviation = _statistics(vae)
        return (_middle(vae.encode(pixels)) - mean) * vae.config.scaling_factor / deviation


@torch.no_grad()
def decode(vae: Any, latents: Latents) -> Images:
    """The inverse of `encode`, up to what the autoencoder loses."""
    dtype = vae.dtype
    with _precise(vae), sliced(vae, pixels_of(vae, latents)):
        mean, deviation = _statistics(vae)
        latents = latents.to(vae.device, vae.dtype)
        pixels = vae.decode(latents * deviation / vae.config.scaling_factor + mean).sample
    return to_uint8((pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy(), dtype)


@contextmanager
def sliced(vae: Any, pixels: int) -> Iterator[None]:
    """Pictures go through the autoencoder one by one in the block if they have more than `AT_ONCE` pixels together: its
    layers near the pixels take more memory for a picture than the denoiser does."""
    before = vae.use_slicing
    vae.use_slicing = before or pixels > AT_ONCE
    try:
        yield
    finally:
        vae.use_slicing = before


def pixels_of(vae: Any, latents: Latents) -> int:
    """How many pixels the pictures of these latents have."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return latents[:, 0].numel() * factor**2


def _middle(encoded: Any) -> Latents:
    """The mean of a distribution; a tiny autoencoder hands over the latents themselves."""
    return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents


def _statistics(vae: Any) -> tuple[Tensor | float, Tensor | float]:
    """What is taken from latents, and what they are divided by: of each channel (Playground), or of all (SD3, Flux)."""
    mean, deviation = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or deviation is None:
        return getattr(vae.config, "shift_factor", None) or 0.0, 1.0
    return _channels(vae, mean), _channels(vae, deviation)


def _channels(vae: Any, values: Sequence[float]) -> Tensor:
    return torch.tensor(values, device=vae.device, dtype=vae.dtype)[:, None, None]


@contextmanager
def _precise(vae: Any) -> Iterator[None]:
    """The autoencoder of SDXL overflows in float16, and says so in its configuration: float32 meanwhile."""
    too_coarse = vae.dtype == torch.float16 and vae.config.force_upcast
    if too_coarse:
        vae.to(torch.float32)
    try:
        yield
    finally:
        if too_coarse:
            vae.to(torch.float16)
