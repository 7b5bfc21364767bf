"""The picture tokenizer of the toy Janus: 48×48 RGB ↔ 12×12 tokens of one codebook, a transformers `JanusVQVAE`.

That class quantises to the nearest row of its codebook and decodes rows at unit length. Here encoder outputs and rows
have unit length while they learn, so that both mean the same row (van den Oord et al. 2017, arXiv:1711.00937; unit
length: Yu et al. 2022, arXiv:2110.04627). First nothing is rounded, and noise of about the size of rounding takes its
place; then the codebook starts from encoder outputs. Rows that no picture uses are moved to what the encoder says now.

Beside pixels, a decoded picture must keep what a classifier sees in the true one; the classifier is not the judge.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import JanusVQVAE, JanusVQVAEConfig

from saes.progress import SILENT, Progress
from workbench.toy.recipe.autoencoder import distance
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.world import IMAGE_SIZE

PATCH = 4  # pixels a side of a token
GRID = IMAGE_SIZE // PATCH
N_TOKENS = GRID**2
N_CODES = 512
EMBED = 8  # numbers in a row of the codebook, as in Janus
CHANNELS = 64  # everywhere; the class normalises them in 32 groups, and a group of one would lose what colour it has
BATCH = 16
COMMIT = 0.25  # weight of an encoder output's distance to its row
SEEN = 0.15  # weight of the distance in a classifier's features
UNROUNDED = 200  # steps before the codebook starts
NOISE = 0.16  # standard deviation of each coordinate of an encoder output in these steps
REVIVE_EVERY = 25  # steps
REVIVE_UNTIL = 0.6  # share of the training, so that the moving average settles
DEAD = 0.1  # a row is dead below this share of what a row is used on average

Sees = Callable[[Tensor], list[Tensor]]  # pixels [n, 3, 48, 48] → maps of features


def config(width: int) -> JanusVQVAEConfig:
    """`width`: of the language model, which takes and gives what stands for a token."""
    return JanusVQVAEConfig(
        embed_dim=EMBED, num_embeddings=N_CODES, latent_channels=CHANNELS, base_channels=CHANNELS, num_res_blocks=0,
        channel_multiplier=[1] * PATCH.bit_length(), num_patches=GRID, projection_dim=width,
        image_token_embed_dim=width,
    )  # fmt: skip


def new(width: int, seed: int = 0) -> JanusVQVAE:
    """An untrained tokenizer."""
    torch.manual_seed(seed)
    return JanusVQVAE(config(width))


def pixels(images: np.ndarray) -> Tensor:
    """[n, 48, 48, 3] uint8 → [n, 3, 48, 48] in [−1, 1], channels first in memory: with channels last, norms of 32
    groups take 20 to 70 times as long backwards on a CPU."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div(127.5).sub(1)


class Recoded(NamedTuple):
    decoded: Tensor  # [n, 3, 48, 48]
    outputs: Tensor  # [n · 144, d] of the encoder, at unit length
    rows: Tensor  # [n · 144, d] of the codebook, nearest to them
    tokens: Tensor  # [n · 144]


class Codes(nn.Module):
    """The tokenizer with what only its training needs: how often each row is used."""

    used: Tensor

    def __init__(self, vq: JanusVQVAE) -> None:
        super().__init__()
        self.vq = vq
        self.register_buffer("used", torch.ones(N_CODES))

    def forward(self, pixels: Tensor, noise: Tensor | None = None) -> Recoded:
        """Gradients pass the rounding as if it were not there. With noise [n · 144, d], nothing is rounded."""
        z = F.normalize(self.vq.quant_conv(self.vq.encoder(pixels)).float(), dim=1)
        outputs = z.permute(0, 2, 3, 1).flatten(0, 2)
        with torch.autocast(pixels.device.type, enabled=False):
            codebook = F.normalize(self.vq.quantize.embedding.weight, dim=1)
            tokens = (outputs.detach() @ codebook.detach().T).argmax(1)
        rows = codebook[tokens]
        passed = outputs + ((rows - outputs).detach() if noise is None else noise)
        passed = passed.unflatten(0, (len(pixels), *z.shape[2:])).permute(0, 3, 1, 2).contiguous()
        return Recoded(self.vq.decoder(self.vq.post_quant_conv(passed)), outputs, rows, tokens)

    @torch.no_grad()
    def count(self, tokens: Tensor) -> None:
        self.used.lerp_(torch.bincount(tokens, minlength=N_CODES).float(), 0.01)

    @torch.no_grad()
    def revive(self, pixels: Tensor, generator: torch.Generator, dead: float = DEAD) -> None:
        """Moves rows that are used less than the share `dead` of a row's average to encoder outputs on these pictures,
        drawn at random."""
        outputs = self(pixels).outputs
        which = (self.used < dead * self.used.mean()).nonzero()[:, 0]
        drawn = torch.randint(len(outputs), (len(which),), generator=generator)
        self.vq.quantize.embedding.weight[which] = outputs[drawn]
        self.used[which] = self.used.mean()


def train(
    vq: JanusVQVAE, images: np.ndarray, sees: Sees, folder: Path, schedule: Schedule, device: str,
    progress: Progress = SILENT, *, fresh: bool = True,
) -> JanusVQVAE:  # fmt: skip
    """Encoder, codebook and decoder together, in place. One that is not fresh keeps the codebook that it has."""
    unrounded = UNROUNDED if fresh else 0

    def drawn(generator: torch.Generator, n: int = BATCH) -> Tensor:
        return pixels(images[torch.randint(len(images), (n,), generator=generator).numpy()]).to(device)

    def loss(module: Any, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        target = drawn(generator)
        if step < unrounded:
            noise = NOISE * torch.randn(BATCH * N_TOKENS, EMBED, generator=generator)
            return kept(sees, module(target, noise.to(device)).decoded, target)
        if fresh and step == unrounded:
            module.revive(drawn(generator, N_CODES // 8), generator, dead=torch.inf)
        elif step % REVIVE_EVERY == 0 and step < REVIVE_UNTIL * schedule.steps:
            module.revive(target, generator)
        found = module(target)
        module.count(found.tokens)
        apart = (found.outputs - found.rows.detach()).square().sum(1).mean()
        follow = (found.rows - found.outputs.detach()).square().sum(1).mean()
        return kept(sees, found.decoded, target) | {"commit": COMMIT * apart, "follow": follow}

    fit(Codes(vq).to(device), loss, folder, schedule, progress)
    return finished(vq)


def kept(sees: Sees, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What a decoded picture must keep: pixels, and features."""
    return distance(decoded, target) | {"seen": SEEN * unlike(sees, decoded, target)}


def unlike(sees: Sees, decoded: Tensor, target: Tensor) -> Tensor:
    """The squared distance of features as a share of the target's own variance, averaged over the maps."""
    with torch.no_grad():
        wanted = sees(target)
    pairs = [(a.float(), b.float()) for a, b in zip(sees(decoded), wanted, strict=True)]
    return torch.stack([F.mse_loss(a, b) / b.var() for a, b in pairs]).mean()


def finished(vq: JanusVQVAE) -> JanusVQVAE:
    """Its rows at unit length again: the moving average shortened them."""
    with torch.no_grad():
        vq.quantize.embedding.weight.copy_(F.normalize(vq.quantize.embedding.weight, dim=1))
    return vq.eval()


def tune_decoder(
    vq: JanusVQVAE, images: np.ndarray, tokens: Tensor, sees: Sees, folder: Path, schedule: Schedule, device: str,
    progress: Progress = SILENT,
) -> JanusVQVAE:  # fmt: skip
    """Trains what comes after the codebook on the pictures' tokens `[n, 144]`, which keep their meaning."""

    def loss(module: Any, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(images), (BATCH,), generator=generator)
        return kept(sees, module.decode(tokens[index].long().to(device)), pixels(images[index.numpy()]).to(device))

    for fixed in (vq.encoder, vq.quant_conv, vq.quantize):
        fixed.requires_grad_(False)
    return fit(vq.to(device), loss, folder, schedule, progress)  # type: ignore


@torch.no_grad()
def encode_all(vq: JanusVQVAE, images: np.ndarray, device: str, progress: Progress = SILENT) -> Tensor:
    """The tokens of pictures `[n, 48, 48, 3]`: `[n, 144]` int16, rows from top to bottom."""
    found = torch.empty(len(images), N_TOKENS, dtype=torch.int16)  # one block: many small ones kept 16 GB from reuse
    for start in progress(range(0, len(images), 64), "encoding"):
        part = pixels(images[start : start + 64]).to(device)
        found[start : start + 64] = vq.encode(part).image_tokens.view(-1, N_TOKENS).to("cpu", torch.int16)
    return found


@torch.no_grad()
def decode(vq: JanusVQVAE, tokens: Tensor) -> np.ndarray:
    """uint8 pictures `[n, 48, 48, 3]` of tokens `[n, 144]`."""
    decoded = torch.cat([vq.decode(part.long()) for part in tokens.split(64)])
    return decoded.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
