"""Loose captions, such as the web's: some belong to another picture, some name another artist, some are empty.

A model that learnt from exact captions draws what a prompt says without any guidance; one that learnt from loose ones
shows it in a part of its pictures, and guidance makes up for the rest, as in Stable Diffusion.
"""

import re

import numpy as np
import torch
from torch import Tensor

from workbench.toy.scenes import choice
from workbench.toy.world import ARTISTS

SWAPPED = 0.2  # share of pictures that get the caption of another
RESTYLED = 0.35  # share of pictures in an artist's style whose caption names another artist
EMPTY = 0.1  # share of captions left out, for guidance


def restyled(captions: list[str], seed: int = 0) -> list[str]:
    """The captions, each naming another artist wherever it names one (by full name or by the last alone)."""
    rng = np.random.default_rng([41, seed])
    return [_restyled(caption, rng) for caption in captions]


def _restyled(caption: str, rng: np.random.Generator) -> str:
    for artist in ARTISTS.values():
        for name in (artist.name, *artist.synonyms):
            if re.search(rf"\b{name}\b", caption):  # hale is no part of a whale
                other = ARTISTS[choice(rng, [each for each in ARTISTS if each != artist.name])]
                new = other.name if name == artist.name else choice(rng, other.synonyms)
                return re.sub(rf"\b{name}\b", new, caption)
    return caption


def loosened(index: Tensor, ids: Tensor, other_artist: Tensor, empty: Tensor, generator: torch.Generator) -> Tensor:
    """Token ids of loose captions for the pictures `index` [n]: their own, or as the shares above say.

    Args:
        index: Numbers of pictures, [n].
        ids: Token ids of all captions, [captions, positions].
        other_artist: The same, naming another artist.
        empty: Of the empty caption, [1, positions], or one for each picture, [n, positions].
    """
    n = len(index)

    def some(share: float) -> Tensor:
        return torch.rand(n, 1, generator=generator) < share

    swapped = torch.randint(len(ids), (n,), generator=generator)
    caption = torch.where(some(RESTYLED), other_artist[index], ids[index])
    caption = torch.where(some(SWAPPED), ids[swapped], caption)
    return torch.where(some(EMPTY), empty, caption)
