"""Distributions over tokens that are optimised while the model only ever sees whole tokens (Zhang et al. 2024,
arXiv:2310.11868).

A free token is a row u on the simplex Δ = {0 ≤ u ≤ 1, Σ u = 1} over the vocabulary. Forward it is the one-hot vector of
an id that is drawn from the row; backward the gradient of that vector is the row's, cut to [−1, 1].
    (1)  Π(a) = clip(a − μ, 0, 1), with μ such that the entries sum to 1
    (2)  o = onehot(i), i ~ u;    ∂L/∂u = clip(∂L/∂o, −1, 1)
μ is found by bisection, as in the paper; once the entries above μ are known it is their mean excess, exactly.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

HALVINGS = 60  # of an interval of length 1: below what float64 tells apart


def projected(a: Float[Tensor, "*rows vocabulary"]) -> Float[Tensor, "*rows vocabulary"]:
    """The nearest point of the simplex to each row, by (1). Entries that are −∞ become 0.

    Args:
        a: At least one entry of each row is finite.

    Returns:
        Of the same shape and dtype, computed in float64.
    """
    exact = a.double()
    high = exact.amax(dim=-1, keepdim=True)  # Σ is 0 there, and at least 1 one below
    low = high - 1
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = (exact - middle).clamp(0, 1).sum(dim=-1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    support = exact > high
    support |= exact == exact.amax(dim=-1, keepdim=True)  # never empty
    excess = torch.where(support, exact, 0).sum(dim=-1, keepdim=True) - 1
    return (exact - excess / support.sum(dim=-1, keepdim=True)).clamp(0, 1).to(a.dtype)  # (1)


def drawn(u: Float[Tensor, "slots vocabulary"], generator: torch.Generator) -> Int64[Tensor, " slots"]:
    """An id for each row of the simplex, i of (2).

    Args:
        u: On any device.
        generator: Of the CPU, so that every device draws the same.

    Returns:
        Ids, on the device of `u`.
    """
    return torch.multinomial(u.detach().double().cpu(), 1, generator=generator)[:, 0].to(u.device)


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, ids: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(ids, u.shape[-1]).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].clamp(-1, 1), None  # (2)


def one_hot(u: Float[Tensor, "slots vocabulary"], ids: Int64[Tensor, " slots"]) -> Float[Tensor, "slots vocabulary"]:
    """(2): the ids as one-hot rows, whose gradient goes straight through to the distributions.

    Args:
        u: The distributions.
        ids: What was drawn from them.

    Returns:
        Rows with a single 1.
    """
    return _Straight.apply(u, ids)
