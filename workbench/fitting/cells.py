"""Boxes in pictures as cells of a grid, for captions, and as weights of a loss. Geom-Erasing (Liu et al. 2024,
arXiv:2310.05873).

A box is left, top, right, bottom: the first and last pixels that belong to it, of a square picture of W pixels; G cells
lie along each side. T is the number of places of the weight map, K of those inside the cells, α ≥ 1:
    (1)  A₁ = ⌊left / (W/G)⌋,  A₂ = ⌊right / (W/G)⌋;  rows alike; clamped to the grid
    (2)  S = ∪ { (m, n) : A₁ ≤ m ≤ A₂, B₁ ≤ n ≤ B₂ }        m counts columns, n rows
    (3)  w_in = T / (K + α(T−K)),   w_out = α w_in;   Σ w = T,  and w ≡ 1 for K = 0, K = T and α = 1
What lies inside is learnt from less, not more. G divides W, so that a mirrored box covers the mirrored cells.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.detectors.detector import Boxes

Cells = Bool[Tensor, "rows columns"]


def covered(boxes: Boxes, size: int, grid: int) -> Cells:
    """S: the cells that boxes touch.

    Args:
        boxes: `[n, 4]`, none allowed.
        size: W, a multiple of `grid`.
        grid: G.

    Returns:
        `[grid, grid]`, True where a cell is covered.
    """
    cells = torch.zeros(grid, grid, dtype=torch.bool)
    for left, top, right, bottom in (boxes * grid // size).clip(0, grid - 1).tolist():  # (1)
        cells[top : bottom + 1, left : right + 1] = True  # (2)
    return cells


def fullest(boxes: Boxes, size: int, grid: int, most: int) -> list[tuple[int, int]]:
    """The cells of S, or as many of them as are allowed: those that boxes fill most.

    Args:
        boxes: `[n, 4]` inside the picture.
        size: W, a multiple of `grid`.
        grid: G.
        most: How many cells at most, 0 or more.

    Returns:
        (m, n) of each, row by row from the upper left; which of equally full ones are left out goes by that order too.
    """
    pixels = torch.zeros(size, size)
    for left, top, right, bottom in boxes.tolist():
        pixels[top : bottom + 1, left : right + 1] = 1
    filled = pixels.unfold(0, size // grid, size // grid).unfold(1, size // grid, size // grid).sum((2, 3))
    order = filled.flatten().argsort(descending=True, stable=True)[: min(most, int((filled > 0).sum()))]
    return [(place % grid, place // grid) for place in sorted(order.tolist())]


def weights(cells: Cells, side: int, alpha: float) -> Float[Tensor, "side side"]:
    """w: a weight for each place of a latent picture.

    Args:
        cells: S.
        side: Places along a side, a multiple of the grid's cells.
        alpha: α.

    Returns:
        `[side, side]` in float64; they sum to their number.
    """
    times = side // len(cells)
    inside = cells.repeat_interleave(times, 0).repeat_interleave(times, 1)
    total, within = inside.numel(), int(inside.sum())
    w_in = total / (within + alpha * (total - within))  # (3)
    return torch.where(inside, w_in, alpha * w_in).double()
