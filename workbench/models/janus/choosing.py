"""Which token comes next: guidance, temperature, top-k, and noise that each picture draws from its own seed.

(1)  z = z_u + g (z_c − z_u)                  guidance, as in diffusion; g = 1 leaves the unconditional rows out
(2)  token = argmax_j z_j + τ G_j             G_j standard Gumbel: a draw from softmax(z / τ); τ = 0: the best
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError

LARGEST = 1000

Logits = Float[Tensor, "rows codes"]
Many = Float[Tensor, "*rows codes"]


class Sampling(NamedTuple):
    """How tokens are chosen: g of (1), τ of (2), and among how many of the best tokens; 0: among all."""

    guidance_scale: float
    temperature: float
    top_k: int

    @property
    def doubles_rows(self) -> bool:
        """Whether unconditional rows are needed."""
        return self.guidance_scale != 1

    def check(self, default: float) -> None:
        """Raises `WorkbenchError` for numbers that make no picture. `default` is the model's own guidance."""
        if not abs(self.guidance_scale) <= LARGEST:
            raise WorkbenchError(
                f"A guidance scale of {self.guidance_scale} makes no picture.",
                f"Choose one between -{LARGEST} and {LARGEST}; the model's default is {default:g}.",
            )
        if not 0 <= self.temperature <= LARGEST:
            raise WorkbenchError(
                f"A temperature of {self.temperature} makes no picture.",
                f"Choose one between 0 (always the best token) and {LARGEST}.",
            )
        if self.top_k < 0:
            raise WorkbenchError(f"top_k is {self.top_k}.", "Choose 1 or more, or 0 for all tokens.")


class Chooser:
    """Chooses the next token of each picture of a batch.

    Args:
        sampling: How.
        seeds: One for each picture, which owns the numbers drawn from it.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, logits: Logits) -> Int64[Tensor, " pictures"]:
        """The tokens; conditional rows come first, then as many unconditional ones."""
        sampling = self._sampling
        joined = guided(logits.float(), sampling.guidance_scale) if sampling.doubles_rows else logits.float()
        return taken(joined, sampling, self.noise(joined.shape[-1]).to(joined) if sampling.temperature else None)

    def noise(self, codes: int) -> Logits:
        """G of (2) for the next token of each picture."""
        draws = [torch.empty(codes).exponential_(generator=generator) for generator in self._generators]
        return -torch.stack(draws).log()


def taken(logits: Many, sampling: Sampling, noise: Many | None) -> Int64[Tensor, "*rows"]:
    """The tokens that sampling takes of joined logits with this noise; at temperature 0 there is none."""
    best = among_best(logits, sampling.top_k)
    return (best if noise is None else best + sampling.temperature * noise).argmax(dim=-1)  # (2)


def guided(logits: Float[Tensor, "rows *_"], guidance_scale: float) -> Float[Tensor, "pictures *_"]:
    """Conditional rows pushed away from the unconditional ones behind them."""
    cond, uncond = logits.chunk(2)
    return uncond + guidance_scale * (cond - uncond)  # (1)


def among_best(logits: Many, top_k: int) -> Many:
    """The same with all but the `top_k` largest of each row at −∞; 0 keeps all."""
    if not 0 < top_k < logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
