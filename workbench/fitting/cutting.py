"""A square cut out of a picture, and mirrored or not: of its pixels, and of boxes in it alike."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image

from workbench.detectors.detector import Boxes


class Cut(NamedTuple):
    """A square in a picture, in pixels, that is scaled to another side and then mirrored if `flipped`."""

    left: int
    top: int
    side: int
    flipped: bool = False

    def picture(self, image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
        """The square of a picture.

        Args:
            image: uint8 `[height, width, 3]`.
            size: The side that it gets.

        Returns:
            uint8 `[size, size, 3]`.
        """
        part = image[self.top : self.top + self.side, self.left : self.left + self.side]
        if self.side != size:
            part = np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.LANCZOS))
        return np.ascontiguousarray(part[:, ::-1] if self.flipped else part)

    def boxes(self, boxes: Boxes, size: int) -> Int64[np.ndarray, "m 4"]:
        """The same boxes in the square: cut at its borders, and those outside it left out.

        Args:
            boxes: `[n, 4]` in the picture; see `workbench.detectors.detector`.
            size: The side that the square gets.

        Returns:
            `[m, 4]` in whole pixels of the square, never less than they cover.
        """
        inside = boxes - np.array([self.left, self.top, self.left, self.top])
        there = (inside[:, :2] < self.side).all(1) & (inside[:, 2:] >= 0).all(1)
        inside = inside[there].clip(0, self.side - 1)
        first, last = inside[:, :2] * size // self.side, -(-(inside[:, 2:] + 1) * size // self.side) - 1
        across = np.stack([first[:, 0], last[:, 0]])
        left, right = size - 1 - across[::-1] if self.flipped else across
        return np.stack([left, first[:, 1], right, last[:, 1]], axis=1)


def drawn_cut(height: int, width: int, smallest: float, flip: bool, generator: torch.Generator) -> Cut:
    """A square at random.

    Args:
        height: Of the picture.
        width: Of the picture.
        smallest: The least side, as a share of the picture's shorter one, above 0; 1 takes the square in its middle.
        flip: Whether every other one is mirrored.
        generator: Draws side, place and mirroring.

    Returns:
        The square.
    """
    short = min(height, width)
    chance = torch.rand(4, generator=generator).tolist()
    side = short if smallest == 1 else int(short * (smallest + (1 - smallest) * chance[0]))
    left, top = ((width - side) // 2, (height - side) // 2)
    if smallest < 1:
        left, top = int((width - side + 1) * chance[1]), int((height - side + 1) * chance[2])
    return Cut(left, top, side, flip and chance[3] < 0.5)
