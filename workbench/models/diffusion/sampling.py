"""Prompts and seeds made into pairs, and the noise of each image drawn from its own seed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError


class Cell(NamedTuple):
    """What makes an image, besides the settings that all share."""

    prompt: str
    seed: int


class Noise(NamedTuple):
    """Starting noise in float32, and the generators that it came from, for schedulers that draw more of it."""

    latents: Float[Tensor, "images channels height width"]
    generators: list[torch.Generator]


def pair(prompts: str | Sequence[str], seeds: int | Sequence[int]) -> list[Cell]:
    """One prompt with each seed, each prompt with one seed, or one by one; else a `WorkbenchError`."""
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    seeds = [seeds] if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not prompts or not seeds:
        raise WorkbenchError("There is nothing to generate.", "Give at least one prompt and one seed.")
    if len(prompts) != len(seeds) and 1 not in (len(prompts), len(seeds)):
        raise WorkbenchError(
            f"There are {len(prompts)} prompts and {len(seeds)} seeds.",
            "Give as many seeds as prompts, one prompt for all seeds, or one seed for all prompts.",
        )
    n_images = max(len(prompts), len(seeds))
    prompts = prompts * n_images if len(prompts) == 1 else prompts
    seeds = seeds * n_images if len(seeds) == 1 else seeds
    return [Cell(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def draw(seeds: Sequence[int], shape: tuple[int, int, int]) -> Noise:
    """Noise `[seeds, *shape]`, each image's from its own CPU generator: the same in every batch and on every device."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    return Noise(torch.cat([torch.randn(1, *shape, generator=generator) for generator in generators]), generators)
