"""What controls are drawn from: rotations, right angles, and features that fire about as often.

Each edit says in its `random` which of them its control is made by.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError

NEAREST = 8  # a feature's stand-in is drawn among this many of the nearest density
DIRECTIONS, FEATURES = "random directions", "random features"  # what controls are called, "… like METHOD"


def rotation(width: int, generator: torch.Generator) -> Float[Tensor, "width width"]:
    """A random orthogonal matrix, uniform over all of them.

    Args:
        width: Rows and columns.
        generator: Draws it.

    Returns:
        `[width, width]`, float64.
    """
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()  # without it, Q is not uniform (Mezzadri 2007)


def right_angle(r: Float[Tensor, "width width"]) -> Float[Tensor, "width width"]:
    """A map that turns every vector by a right angle: ‖Qx‖ = ‖x‖ and xᵀQx = 0 for every x.

    Args:
        r: R, orthogonal `[width, width]` of even width.

    Returns:
        Q = R J Rᵀ with J = [[0, −1], [1, 0]] along the diagonal.
    """
    assert len(r) % 2 == 0, f"in {len(r)} dimensions no map turns every vector by a right angle"
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=r.dtype)
    return r @ torch.block_diag(*[quarter] * (len(r) // 2)) @ r.T


def exchange(width: int, generator: torch.Generator) -> Int64[Tensor, " width"]:
    """A right angle of many dimensions at little cost: numbers in random pairs take each other's place, one with its
    sign changed.

    Args:
        width: How many numbers, even.
        generator: Draws the pairs.

    Returns:
        For each number ±(1 + that of its partner), for `exchanged`.
    """
    assert width % 2 == 0, f"{width} numbers are no pairs"
    one, other = torch.randperm(width, generator=generator).view(2, -1)
    signed = torch.empty(width, dtype=torch.int64)
    signed[one], signed[other] = -(other + 1), one + 1
    return signed


def exchanged(x: Float[Tensor, "*rows width"], signed: Int64[Tensor, " width"]) -> Float[Tensor, "*rows width"]:
    """x turned by a right angle: of the same length, and at a right angle to x, whatever x is.

    Args:
        x: `[…, width]`.
        signed: Of `exchange`, on the same device.

    Returns:
        Of the same shape.
    """
    return x[..., signed.abs() - 1] * signed.sign().to(x)


class Turns:
    """Random rotations of the inputs of weights: one for each width, so that equal inputs are turned alike."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._turns: dict[int, Tensor] = {}

    def __call__(self, change: Tensor) -> Tensor:
        """ΔQ of a matrix or convolution `[out, …]`; random signs of a vector (a bias or a norm)."""
        if change.ndim < 2:
            return change * (2 * torch.randint(0, 2, change.shape, generator=self.generator) - 1)
        flat = change.flatten(1)
        width = flat.shape[1]
        if width not in self._turns:
            self._turns[width] = rotation(width, self.generator)
        return (flat.double() @ self._turns[width]).to(change.dtype).view(change.shape)


def redrawn(down: Tensor, generator: torch.Generator) -> Tensor:
    """Rows in another direction: R Q, Q random orthonormal rows and R that of the rows given.

    Args:
        down: `[rank, …]`.
        generator: Draws Q.

    Returns:
        Of the same shape, dtype and singular values.
    """
    own = torch.linalg.qr(down.flatten(1).double().T).R
    other = torch.linalg.qr(torch.randn(down[0].numel(), len(down), generator=generator, dtype=torch.float64)).Q
    return (own.T @ other.T).to(down.dtype).view(down.shape)


def matched_features(
    features: Int64[Tensor, " found"], density: Float[Tensor, " d_sae"], seed: int
) -> Int64[Tensor, " found"]:
    """Other features that fire about as often.

    Args:
        features: Those to be replaced.
        density: The share of rows on which each feature of the dictionary fires.
        seed: Decides the draw.

    Returns:
        As many other features, one for each and in the same order, none twice, all of which fire sometimes.

    Raises:
        WorkbenchError: If too few others ever fire.
    """
    generator = torch.Generator().manual_seed(seed)
    density = density.cpu().double()
    shuffled = torch.randperm(len(density), generator=generator)  # features of equal density come in random order
    free = shuffled[(density[shuffled] > 0) & ~torch.isin(shuffled, features.cpu())]
    if len(free) < len(features):
        raise WorkbenchError(
            f"Only {len(free)} other features ever fire, and {len(features)} are needed.",
            "Measure the density over more prompts.",
        )
    drawn = []
    for feature in features.tolist():
        distance = (density[free] - density[feature]).abs()
        near = distance.topk(min(NEAREST, len(free)), largest=False).indices
        pick = near[torch.randint(len(near), (), generator=generator)]
        drawn.append(free[pick])
        free = torch.cat([free[:pick], free[pick + 1 :]])
    return torch.stack(drawn)
