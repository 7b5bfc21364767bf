"""A small CLIP of the embedded world (Radford et al. 2021, arXiv:2103.00020): transformers' `CLIPModel`.

It is trained on renders and their captions alone and shares nothing with the oracle: no features, no labels, no
pictures. With pictures i, captions j, cosine s_ij, τ the learnt scale and T_ij whether caption j is true of picture i:
    (1)  L = ½ · mean_i −log softmax_j(τ s_ij)[i] + ½ · mean_j −log softmax_i(τ s_ij)[j]
The sums of both softmaxes leave out every pair with T_ij and i ≠ j, which (1) would push apart although it is right.
Pictures of unknown shapes have no caption and stand in the second softmax alone, so that a caption is also told from
what it is no caption of. Some pictures come as the autoencoder returns them, all are shifted, blurred and noisy.
"""

import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from saes.progress import SILENT, Progress
from workbench.evaluation.encoders import Encoder
from workbench.toy.recipe import clip_figures
from workbench.toy.recipe.diffusion import tokens
from workbench.toy.recipe.image_adapter import new_processor
from workbench.toy.recipe.judging import through
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.recipe.pairs import FACTS, Pairs, kept_pairs, true_of
from workbench.toy.tokenizer import LENGTH, build
from workbench.toy.world import ARTISTS, COLOURS, IMAGE_SIZE, THINGS

BATCH = 128
GROUPS, ALIKE = 4, 24  # so many times so many of them are alike but for the thing, whose shape is learnt last
TWOS = 14  # times that pictures of two things are listed beside the 42 groups of single ones
UNKNOWN = 12  # pictures of unknown shapes beside each batch
WIDTH, PATCH, LAYERS, TEXT_LAYERS = 96, 6, 4, 2
RECODED = 3  # one picture in so many also comes through the autoencoder
LATENT_NOISE = 0.25  # largest standard deviation there, latents having unit variance
SHIFT = 3  # pixels
LARGEST_SCALE = 100.0  # of τ
N_PAIRS, N_UNKNOWN = 24_000, 1_500
SCHEDULE = Schedule(steps=3000, lr=1e-3, ema=0.998)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=3, max_position_embeddings=LENGTH, projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        image_size=IMAGE_SIZE, patch_size=PATCH, hidden_size=WIDTH, intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=3, projection_dim=WIDTH,
    )  # fmt: skip
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    return CLIPModel(config)


def contrast(logits: Tensor, true: Tensor) -> Tensor:
    """(1), a scalar.

    Args:
        logits: τ s, `[pictures, captions]`; picture j is that of caption j, those beyond have no caption.
        true: T, of the same shape, bool.
    """
    n = logits.shape[1]
    own = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
    told_apart = logits.masked_fill(true & ~own, -torch.inf)
    target = torch.arange(n, device=logits.device)
    return (F.cross_entropy(told_apart[:n], target) + F.cross_entropy(told_apart.T, target)) / 2  # (1)


def disturbed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures `[n, 48, 48, 3]` uint8 shifted, blurred, brightened and noisy: `[n, 3, 48, 48]`, about 0 to 1."""
    n, side = len(images), images.shape[1]
    x = F.pad(images.permute(0, 3, 1, 2).float() / 255, (SHIFT,) * 4, mode="replicate")
    rows, columns = torch.arange(side) + torch.randint(2 * SHIFT + 1, (2, n, 1), generator=generator)
    x = x[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
    blur = 0.8 * torch.rand(n, 1, 1, 1, generator=generator) * (torch.rand(n, 1, 1, 1, generator=generator) < 0.4)
    x = torch.lerp(x, F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False), blur)
    brightness = 0.95 + 0.1 * torch.rand(n, 1, 1, 1, generator=generator)
    return brightness * x + 0.02 * torch.randn(x.shape, generator=generator)


def alike_but_for_the_thing(data: Pairs) -> list[Tensor]:
    """Places of captioned pictures of one thing in one colour and by one artist (or none), a group for each that has
    any. A caption is told from the others of its group by the thing alone."""
    shown = data.shown[: len(data.captions)]
    things = shown[:, [FACTS.index(thing) for thing in THINGS]].sum(1)
    styles = [shown[:, FACTS.index(artist)] for artist in ARTISTS]
    groups = []
    for colour in COLOURS:
        coloured = shown[:, [FACTS.index(f"{colour} {thing}") for thing in THINGS]].any(1) & (things == 1)
        for style in (*styles, ~torch.stack(styles).any(0)):
            groups.append((coloured & style).nonzero()[:, 0])
    return [group for group in groups if len(group)]


def pictures_of_two(data: Pairs) -> Tensor:
    """Places of captioned pictures of two things."""
    return (data.shown[: len(data.captions), [FACTS.index(thing) for thing in THINGS]].sum(1) == 2).nonzero()[:, 0]


def statistics() -> tuple[Tensor, Tensor]:
    """Mean and deviation by which the processor normalises each channel, `[3, 1, 1]`."""
    processor = new_processor()
    mean, std = (torch.tensor(of)[:, None, None] for of in (processor.image_mean, processor.image_std))
    return mean, std


def train(
    tokenizer: CLIPTokenizer, data: Pairs, vae: AutoencoderKL, folder: Path, schedule: Schedule, device: str,
    progress: Progress = SILENT,
) -> CLIPModel:  # fmt: skip
    """Trains on the pairs; the first third of the pictures is also seen as the autoencoder returns them."""
    images, n = torch.from_numpy(data.images), len(data.captions)
    recoded = through(vae, images[: n // RECODED], LATENT_NOISE, torch.Generator().manual_seed(1))
    ids = tokens(tokenizer, data.captions)
    groups = [*alike_but_for_the_thing(data), *[pictures_of_two(data)] * TWOS]
    mean, std = statistics()

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        own = torch.randint(n, (BATCH,), generator=generator)
        for start in range(0, GROUPS * ALIKE, ALIKE):
            group = groups[int(torch.randint(len(groups), (), generator=generator))]
            own[start : start + ALIKE] = group[torch.randint(len(group), (ALIKE,), generator=generator)]
        index = torch.cat([own, torch.randint(n, len(images), (UNKNOWN,), generator=generator)])
        again = (index < len(recoded)) & (torch.rand(len(index), generator=generator) < 0.7)
        shown = images[index]
        shown[again] = recoded[index[again]]
        pixels = ((disturbed(shown, generator) - mean) / std).to(device)
        seen = F.normalize(module.get_image_features(pixels).pooler_output.float(), dim=1)  # type: ignore[operator]
        read = F.normalize(module.get_text_features(ids[own].to(device)).pooler_output.float(), dim=1)  # type: ignore[operator]
        logits = module.logit_scale.exp().clamp(max=LARGEST_SCALE) * seen @ read.T  # type: ignore[operator, union-attr]
        return {"match": contrast(logits, true_of(data.shown[index], data.stated[own]).to(device))}

    torch.manual_seed(0)
    return fit(new_clip(tokenizer).to(device), loss, folder, schedule, progress)  # type: ignore[return-value, arg-type]


def export(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes a folder that `CLIPModel` and `CLIPProcessor` open like any other, in fp16."""
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(LARGEST_SCALE))
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    new_processor().save_pretrained(folder)


def make(folder: Path, vae_dir: Path, home: Path, device: str, progress: Progress = SILENT) -> None:
    """The stage of the recipe: renders, trains, exports to `home`, and measures what came of it."""
    tokenizer, vae = build(folder / "tokenizer"), AutoencoderKL.from_pretrained(vae_dir).eval()
    data = kept_pairs(folder / "clip" / "pairs.npz", N_PAIRS, N_UNKNOWN, seed=0, progress=progress)
    model = train(tokenizer, data, vae, folder / "clip" / "training", SCHEDULE, device, progress)
    export(model.cpu(), build(folder / "tokenizer"), home)  # a fresh one: calls leave their padding in it
    clip_figures.write(home, clip_figures.measure(Encoder.open(home), vae))
