"""An image encoder and an IP-Adapter for the toy, so that methods that describe a concept by pictures can be tried.

The encoder is a small CLIP (Radford et al. 2021, arXiv:2103.00020): pictures are matched with their captions, read off
the frozen text encoder's end-of-text row. Its patches also guess what a classifier sees in them, as the denoiser's
middle does, because few pictures must do. The adapter (Ye et al. 2023, arXiv:2308.06721) then learns from the
denoiser's own loss what an image's tokens have to say; everything else is frozen. What the denoiser knows already
shortens that to minutes: the adapter starts from its keys and values and from the last rows of the caption, read off
the picture linearly, and where the caption is left out, it also learns to say what the caption would have done.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from saes.progress import SILENT, Progress
from workbench.models.diffusion.image_prompt import N_TOKENS, Adapter, cross_attentions
from workbench.toy.recipe.diffusion import Sees, new_scheduler, stratified
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.world import IMAGE_SIZE

BATCH = 16
PAIRS = 64  # of pictures and captions in a batch
WIDTH = 128
EMPTY = 0.6  # share of empty captions, where only the picture can tell
BLANK = 0.1  # share of blank image embeddings, which diffusers' guidance uses for "no image"
ALIGN = 1.0
DISTILL = 5.0  # weight of the distance to what the denoiser does with the caption and no picture
N_REGRESSED = 4000  # pictures that the adapter's first weights are fitted to


def new_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            image_size=IMAGE_SIZE, patch_size=8, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4,
            num_attention_heads=4, projection_dim=WIDTH, hidden_act="quick_gelu",
        )
    )  # fmt: skip


def new_processor() -> CLIPImageProcessor:
    """CLIP's own statistics and bicubic resizing."""
    return CLIPImageProcessor(size=IMAGE_SIZE, crop_size=IMAGE_SIZE)


def pixel_values(images: np.ndarray) -> Tensor:
    return new_processor()(images=list(images), return_tensors="pt").pixel_values


class Matching(nn.Module):
    """The encoder with what only its training needs: a map of captions, a temperature, and a guess at features."""

    def __init__(self, text_width: int, d_seen: int = 128) -> None:
        super().__init__()
        self.encoder = new_encoder()
        self.words = nn.Linear(text_width, WIDTH, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.head = nn.Linear(WIDTH, d_seen)

    def forward(self, pixels: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `[pictures, captions]`, and the guess at what a classifier sees, `[pictures, patches, d_seen]`."""
        seen = self.encoder(pixels)
        pictures, words = (F.normalize(x.float(), dim=1) for x in (seen.image_embeds, self.words(captions)))
        return self.log_scale.exp().clamp(max=100) * pictures @ words.T, self.head(seen.last_hidden_state[:, 1:])


@torch.no_grad()
def caption_rows(text_encoder: CLIPTextModel, ids: Tensor, progress: Progress = SILENT) -> Tensor:
    """The end-of-text row `[n, d]` of every caption; equal captions are read once."""
    different, which = ids.unique(dim=0, return_inverse=True)
    parts = [text_encoder(part).pooler_output for part in progress(different.split(256), "captions")]
    return torch.cat(parts)[which]


def train_encoder(
    images: np.ndarray, captions: Tensor, seen: Sees, folder: Path, schedule: Schedule, device: str,
    progress: Progress = SILENT,
) -> Matching:  # fmt: skip
    """`captions`: their end-of-text rows `[n, d]`."""
    own = torch.arange(PAIRS, device=device)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(images), (PAIRS,), generator=generator)
        shown = images[index.numpy()]
        scores, guess = module(pixel_values(shown).to(device), captions[index].to(device))
        alike = F.cosine_similarity(guess.float(), seen(shown).to(device).flatten(2).mT, dim=2)
        match = F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)
        return {"match": match / 2, "align": ALIGN * (1 - alike).mean()}

    torch.manual_seed(0)
    return fit(Matching(captions.shape[1]).to(device), loss, folder, schedule, progress)  # type: ignore[return-value]


@torch.no_grad()
def new_adapter(unet: UNet2DConditionModel, embeds: Tensor, rows: Tensor) -> Adapter:
    """Starts as attention to the image as if it were text: with the cross-attentions' own keys and values, and tokens
    that are the best linear guess at `rows` `[n, tokens, d]`, the last ones of the captions, from `embeds` `[n, p]`."""
    adapter = Adapter(unet, embeds.shape[1])
    layer, norm = adapter.projection.image_embeds, adapter.projection.norm
    norm.weight.copy_(rows.flatten(0, 1).std(0))
    norm.bias.copy_(rows.flatten(0, 1).mean(0))
    wanted = ((rows - norm.bias) / norm.weight).flatten(1)
    fitted = torch.linalg.lstsq(F.pad(embeds, (0, 1), value=1.0), wanted).solution
    layer.weight.copy_(fitted[:-1].T)
    layer.bias.copy_(fitted[-1])
    image: Any
    for image, attention in zip(adapter.attention, cross_attentions(unet), strict=True):
        image.to_k_ip[0].weight.copy_(attention.to_k.weight)
        image.to_v_ip[0].weight.copy_(attention.to_v.weight)
    return adapter


@contextmanager
def in_place(adapter: Adapter, unet: UNet2DConditionModel) -> Iterator[None]:
    """The adapter's attention on the denoiser, which then takes (text, [image tokens]) for its text."""
    before = [attention.processor for attention in cross_attentions(unet)]
    for attention, processor in zip(cross_attentions(unet), adapter.attention, strict=True):
        attention.set_processor(processor)
    try:
        yield
    finally:
        for attention, processor in zip(cross_attentions(unet), before, strict=True):
            attention.set_processor(processor)


def train_adapter(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, encoder: CLIPVisionModelWithProjection, images: np.ndarray,
    ids: Tensor, empty: Tensor, means: Tensor, stds: Tensor, folder: Path, schedule: Schedule, device: str,
    progress: Progress = SILENT,
) -> Adapter:  # fmt: skip
    """The denoiser's v-loss, minimised over the adapter alone."""
    scheduler = new_scheduler()
    first = range(min(N_REGRESSED, len(ids)))
    with torch.no_grad():
        embeds = torch.cat([encoder(pixel_values(images[part])).image_embeds for part in batched(first)])
        rows = torch.cat([text_encoder(ids[part])[0][:, -N_TOKENS:] for part in batched(first)])
    torch.manual_seed(0)
    adapter = new_adapter(unet, embeds, rows).to(device)
    for frozen in (unet, text_encoder, encoder):
        frozen.requires_grad_(False).eval().to(device)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(ids), (BATCH,), generator=generator)
        left_out = torch.rand(BATCH, 1, generator=generator) < EMPTY
        shown = torch.rand(BATCH, 1, generator=generator) >= BLANK
        z = means[index].float() + stds[index].float() * torch.randn(means[index].shape, generator=generator)
        noise = torch.randn(z.shape, generator=generator)
        timestep = stratified(generator, BATCH)
        noisy, v = scheduler.add_noise(z, noise, timestep), scheduler.get_velocity(z, noise, timestep)
        embeds = encoder(pixel_values(images[index.numpy()]).to(device)).image_embeds * shown.to(device)
        text = text_encoder(torch.where(left_out, empty, ids[index]).to(device))[0]
        noisy = noisy.to(device, memory_format=torch.channels_last)
        with torch.no_grad():
            told = unet(
                noisy, timestep.to(device), text_encoder(torch.where(shown, ids[index], empty).to(device))[0]
            ).sample
        with in_place(adapter, unet):
            predicted = unet(noisy, timestep.to(device), (text, [adapter.projection(embeds)])).sample
        return {
            "mse": (predicted.float() - v.to(device)).square().mean(),
            "distill": DISTILL * (predicted.float() - told.float())[left_out[:, 0]].square().mean(),
        }

    return fit(adapter, loss, folder, schedule, progress)  # type: ignore[return-value]


def batched(places: range, n: int = 250) -> list[slice]:
    """Slices of at most n."""
    return [slice(start, min(start + n, places.stop)) for start in range(places.start, places.stop, n)]
