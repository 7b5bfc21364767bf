"""The detector of the embedded world: where a picture shows its watermark, bar code or headline.

Nothing is trained. A mark is known as the renderer draws it, so its template T is the mean of the directions in which
it grows lighter, over `DRAWS` draws on plain colours. With g the lightness of a picture in [0, 1]:
    (1)  u = ∇g / (|∇g| + `SOFT`)                        directions, hardly lengths: half transparent marks count too
    (2)  s = ⟨u, T⟩ / Σ|T|   at every place where the world puts the mark, `SLACK` pixels more on each side
    (3)  score = s / 2τ, at most 1:   ½ at the threshold τ of the mark
τ was chosen on 240 renders after a pass through the autoencoder, which blurs the watermark away in part; there and on
the renders themselves the area under the curve is .998 at least.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from saes.errors import WorkbenchError
from workbench.detectors.detector import Found, found
from workbench.toy.marks import DRAW_MARK
from workbench.toy.render import SCALE, SIDE
from workbench.toy.world import IMAGE_SIZE

DRAWS = 48
SOFT = 0.01
SLACK = 2
VISIBLE = 0.03  # a pixel belongs to a mark if a channel changes by more
TAU = {"watermark": 0.22, "barcode": 0.32, "headline": 0.28}


class Template(NamedTuple):
    """T of a mark, one pixel wider than it on each side, and the first and last places of its upper left corner."""

    directions: Tensor  # [2, h, w]
    first: tuple[int, int]  # row, column
    last: tuple[int, int]


class Marks:
    """Finds each mark of the world at most once in a picture. Pictures are of the world's own size."""

    name = "toy-marks"
    version = f"{DRAWS} draws, {TAU}"
    concepts = tuple(DRAW_MARK)
    validated = "on renders of the toy's world, before and after its autoencoder (tests/toy)"

    def find(self, images: UInt8[np.ndarray, "images h w 3"]) -> list[Found]:
        """The likeliest place of each mark, with its score."""
        if images.shape[1:3] != (IMAGE_SIZE, IMAGE_SIZE):
            raise WorkbenchError(
                f"The toy's detector was given pictures of {images.shape[2]}×{images.shape[1]} pixels.",
                f"Its world's are {IMAGE_SIZE}×{IMAGE_SIZE}; for others take the detectors 'text' and 'code'.",
            )
        seen = {mark: _places(images, mark) for mark in self.concepts}
        return [
            found([seen[m][0][i] for m in seen], [seen[m][1][i] for m in seen], list(seen)) for i in range(len(images))
        ]


@cache
def template(mark: str) -> Template:
    """The template of a mark.

    Args:
        mark: A name of `DRAW_MARK`.

    Returns:
        It, from draws that are always the same.
    """
    rng, drawn, boxes = np.random.default_rng(0), [], []
    for _ in range(DRAWS):
        colour = rng.integers(40, 200, 3)
        plain = Image.new("RGB", (SIDE, SIDE), tuple(map(int, colour)))
        picture = np.asarray(DRAW_MARK[mark](plain, rng).reduce(SCALE))
        there = np.abs(picture.astype(float) - colour).max(axis=-1) > 255 * VISIBLE
        rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
        drawn.append(directions(picture[None])[0])
        boxes.append((rows[0], columns[0], rows[-1] - rows[0] + 3, columns[-1] - columns[0] + 3))  # row, column, h, w
    corners, sizes = np.array(boxes)[:, :2], np.array(boxes)[:, 2:]
    h, w = (int(np.bincount(side).argmax()) for side in sizes.T)
    whole = [F.pad(one, (0, 3, 0, 3)) for one in drawn]  # a mark at the border is cut there
    mean = torch.stack([one[:, y : y + h, x : x + w] for one, (y, x) in zip(whole, corners, strict=True)]).mean(0)
    low, high = corners.min(0) - SLACK, corners.max(0) + SLACK
    first = (max(int(low[0]), 0), max(int(low[1]), 0))
    return Template(mean, first, (min(int(high[0]), IMAGE_SIZE + 2 - h), min(int(high[1]), IMAGE_SIZE + 2 - w)))


def directions(images: UInt8[np.ndarray, "n h w 3"]) -> Float32[Tensor, "n 2 rows columns"]:
    """(1), in pictures with a border of one pixel more on each side, so that a mark's own border lies inside.

    Args:
        images: uint8.

    Returns:
        u, `[n, 2, h + 2, w + 2]`: down, then across.
    """
    lightness = np.pad(images.astype(np.float32).mean(-1) / 255, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, across = np.gradient(lightness, axis=(1, 2))
    length = np.hypot(down, across) + SOFT
    return torch.from_numpy(np.stack([down / length, across / length], axis=1).astype(np.float32))  # (1)


def _places(images: np.ndarray, mark: str) -> tuple[list[list[int]], list[float]]:
    """The box and the score of the likeliest place in each picture."""
    shape, (top, left), (bottom, right) = template(mark)
    h, w = shape.shape[1:]
    cut = directions(images)[:, :, top : bottom + h, left : right + w]
    s = F.conv2d(cut, (shape / shape.norm(dim=0).sum())[None])[:, 0]  # (2)
    at, score = s.flatten(1).argmax(1), s.flatten(1).amax(1)
    y, x = top + at // s.shape[2], left + at % s.shape[2]
    edge = IMAGE_SIZE - 1
    boxes = [
        [min(a, edge), min(b, edge), min(a + w - 3, edge), min(b + h - 3, edge)]
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    return boxes, (score / (2 * TAU[mark])).clamp(0, 1).tolist()  # (3)
