"""The noise of each image, drawn from its own seed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Noise(NamedTuple):
    """Starting noise in float32, and the generators that it came from, for schedulers that draw more of it."""

    latents: Float[Tensor, "images channels height width"]
    generators: list[torch.Generator]


def draw(seeds: Sequence[int], shape: tuple[int, int, int]) -> Noise:
    """Noise `[seeds, *shape]`, each image's from its own CPU generator: the same in every batch and on every device."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    return Noise(torch.cat([torch.randn(1, *shape, generator=generator) for generator in generators]), generators)
