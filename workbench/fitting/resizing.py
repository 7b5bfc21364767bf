"""Pictures made smaller or larger at random, with the words that say so and the part of the latents that is picture.

The augmentation of Custom Diffusion and Concept Ablation (their official codes): two times of three a picture is shrunk
to a side between a third and all of its own and put on grey, else 1.2 to 1.4 times as large and cut. Only latents that
lie inside it by one or more are compared; at a far smaller or a larger size a prompt says so.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

SHRUNK = 0.66  # the chance of being shrunk
SMALL = 0.6  # of the side; below, words say so
SMALL_WORDS, LARGE_WORDS = ("a far away ", "very small "), ("zoomed in ", "close up ")
GREY = 128  # 0 in the numbers that an autoencoder takes

Picture = UInt8[np.ndarray, "size size 3"]


class Resized(NamedTuple):
    """A picture of the same size as before; the words, or "", go before a prompt of it."""

    image: Picture
    mask: Float[Tensor, "1 side side"]  # over latents: 1 where they are of the picture, else 0
    words: str


def resized(image: Picture, factor: int, generator: torch.Generator) -> Resized:
    """The augmentation: a picture made smaller or larger at random.

    Args:
        image: uint8 `[size, size, 3]`.
        factor: Pixels along a latent's side.
        generator: Draws the size, the place and the words.

    Returns:
        A picture of the same size, the part of its latents that is picture, and the words that go before a prompt.
    """
    size = len(image)
    if float(torch.rand((), generator=generator)) < SHRUNK:
        # Below three latents nothing would lie inside: published pictures are far larger.
        return shrunk(image, _between(max(size // 3, 3 * factor), size, generator), factor, generator)
    return enlarged(image, _between(int(1.2 * size), int(1.4 * size) - 1, generator), factor, generator)


def shrunk(image: Picture, side: int, factor: int, generator: torch.Generator) -> Resized:
    """The picture made smaller, somewhere on grey.

    Args:
        image: uint8 `[size, size, 3]`.
        side: The side that it gets, 3 `factor` to `size` pixels.
        factor: Pixels along a latent's side.
        generator: Draws the place and the words.

    Returns:
        The picture; its mask is 1 where latents lie inside of it by one or more.
    """
    size = len(image)
    top, left = (_between(0, size - side, generator) for _ in range(2))
    whole = np.full_like(image, GREY)
    whole[top : top + side, left : left + side] = _scaled(image, side)
    mask = torch.zeros(1, size // factor, size // factor)
    rows, columns = (slice(start // factor + 1, (start + side) // factor - 1) for start in (top, left))
    mask[:, rows, columns] = 1.0
    return Resized(whole, mask, _one_of(SMALL_WORDS, generator) if side < SMALL * size else "")


def enlarged(image: Picture, side: int, factor: int, generator: torch.Generator) -> Resized:
    """A part of the picture as if it were larger; all of it is picture.

    Args:
        image: uint8 `[size, size, 3]`.
        side: The side of the whole, `size` pixels or more.
        factor: Pixels along a latent's side.
        generator: Draws the part and the words.

    Returns:
        The part, with a mask of 1 everywhere.
    """
    size = len(image)
    top, left = (_between(0, side - size, generator) for _ in range(2))
    part = _scaled(image, side)[top : top + size, left : left + size]
    return Resized(part, torch.ones(1, size // factor, size // factor), _one_of(LARGE_WORDS, generator))


def _between(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _one_of(words: tuple[str, ...], generator: torch.Generator) -> str:
    return words[_between(0, len(words) - 1, generator)]


def _scaled(image: Picture, side: int) -> UInt8[np.ndarray, "side side 3"]:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
