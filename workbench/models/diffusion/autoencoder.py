"""Images to latents and back, by the pipeline's own autoencoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from workbench.models.diffusion.architecture import Latents
from workbench.models.images import Images, to_uint8

AT_ONCE = 2**20  # pixels of the pictures that go through an autoencoder together: four of 512 × 512


@torch.no_grad()
def encode(vae: Any, images: Images) -> Latents:
    """The mean of each image's latent distribution, shifted and scaled as the denoiser knows it."""
    with _precise(vae), sliced(vae, images[..., 0].size):
        pixels = torch.from_numpy(images).to(vae.device, vae.dtype).permute(0, 3, 1, 2) / 127.5 - 1
        return (_middle(vae.encode(pixels)) - _shift(vae)) * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: Any, latents: Latents) -> Images:
    """The inverse of `encode`, up to what the autoencoder loses."""
    dtype = vae.dtype
    with _precise(vae), sliced(vae, pixels_of(vae, latents)):
        pixels = vae.decode(latents.to(vae.device, vae.dtype) / vae.config.scaling_factor + _shift(vae)).sample
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


def _shift(vae: Any) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0


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
