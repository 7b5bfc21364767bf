"""The picture autoencoder: 48×48 RGB ↔ 12×12 latents of 4 channels, a `diffusers.AutoencoderKL`.

First both halves are trained together; then latents are standardised and the decoder alone is tuned on slightly noisy
latents, because what it will decode later comes from a sampler and not from the encoder.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from saes.progress import SILENT, Progress
from workbench.toy.recipe.loop import Schedule, fit

BATCH = 32
CHANNELS = 4
KL = 2e-7  # weight of the divergence summed over the 576 latents; a hundred times more left channels unused
LATENT_NOISE = 0.12  # standard deviation, latents having unit variance


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=48,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def pixels(images: np.ndarray) -> Tensor:
    """[n, 48, 48, 3] uint8 → [n, 3, 48, 48] in [−1, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def distance(decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
    """L1, squared error, and the L1 distance of horizontal and vertical differences (which keeps lines sharp)."""
    decoded = decoded.float()
    error = decoded - target
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return {"l1": error.abs().mean(), "mse": 2 * error.square().mean(), "edges": 0.5 * edges}


def train(
    images: np.ndarray, folder: Path, schedule: Schedule, device: str, progress: Progress = SILENT
) -> AutoencoderKL:
    """Encoder and decoder together, then standardised latents."""

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(images), (BATCH,), generator=generator).numpy()
        target = pixels(images[index]).to(device, memory_format=torch.channels_last)
        posterior = module.encode(target).latent_dist  # type: ignore[operator]
        noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
        decoded = module.decode(posterior.mean + posterior.std * noise).sample  # type: ignore[operator]
        return distance(decoded, target) | {"kl": KL * posterior.kl().mean()}

    model = new_autoencoder().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return standardise(fit(model, loss, folder, schedule, progress), images[:2048], device)


@torch.no_grad()
def standardise(model: AutoencoderKL, images: np.ndarray, device: str) -> AutoencoderKL:
    """Folds mean and deviation of each latent channel into the 1×1 convolutions around the latents."""
    z = torch.cat([model.encode(pixels(part).to(device)).latent_dist.mean for part in np.array_split(images, 32)])
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    quant, post = model.quant_conv, model.post_quant_conv
    quant.weight[:CHANNELS] /= std[:, None, None, None]
    quant.bias[:CHANNELS] = (quant.bias[:CHANNELS] - mean) / std
    quant.bias[CHANNELS:] -= 2 * std.log()  # the log variance
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std[None, :, None, None]
    return model


def tune_decoder(
    model: AutoencoderKL,
    images: np.ndarray,
    latents: Tensor,
    folder: Path,
    schedule: Schedule,
    device: str,
    progress: Progress = SILENT,
) -> AutoencoderKL:
    """Trains `decoder` and `post_quant_conv` on noisy latents `[n, 4, 12, 12]` of the pictures."""

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(images), (BATCH,), generator=generator)
        target = pixels(images[index.numpy()]).to(device, memory_format=torch.channels_last)
        noise = (
            LATENT_NOISE
            * torch.rand(BATCH, 1, 1, 1, generator=generator)
            * torch.randn(latents[index].shape, generator=generator)
        )
        return distance(module.decode((latents[index].float() + noise).to(device)).sample, target)  # type: ignore[operator]

    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    return fit(model, loss, folder, schedule, progress)  # type: ignore[return-value]


@torch.no_grad()
def encode_all(
    model: AutoencoderKL, images: np.ndarray, device: str, progress: Progress = SILENT
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of all pictures, `[n, 4, 12, 12]` fp16 each."""
    means, stds = [], []
    for part in progress(np.array_split(images, max(1, len(images) // 64)), "encoding"):
        posterior = model.encode(pixels(part).to(device, memory_format=torch.channels_last)).latent_dist
        means.append(posterior.mean.half().cpu())
        stds.append(posterior.std.half().cpu())
    return torch.cat(means), torch.cat(stds)


@torch.no_grad()
def psnr(model: AutoencoderKL, images: np.ndarray, device: str) -> float:
    """Peak signal-to-noise ratio of reconstructions, in dB; pixel values have a range of 2."""
    target = pixels(images).to(device)
    return float(
        10
        * torch.log10(4 / F.mse_loss(model.decode(model.encode(target).latent_dist.mean).sample.clamp(-1, 1), target))
    )
