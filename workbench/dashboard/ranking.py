"""Which prompts of a feature are kept with their activations: the strongest, and some from the whole range.

    (1)  key[p, f] = g[p, f]                              the strongest prompts have the largest keys
    (2)  key[p, f] = u, uniform in (0, 1], if g[p, f] > 0      the n largest are a uniform sample of where f fires
    (3)  quantile[p, f] = #{q : 0 < g[q, f] ≤ g[p, f]} / #{q : 0 < g[q, f]}
A reservoir by random keys (2) needs no second pass and no memory for what it does not keep.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Float16, Int64
from torch import Tensor

from saes.shuffling import keyed_generator

TARGETS = (0.9, 0.7, 0.5, 0.3, 0.1)  # quantiles near which a card shows a prompt
LEAST_DRAWN, MOST_DRAWN = 10, 40  # prompts drawn from all on which a feature fires, to choose these from
ROOM = 2**28  # bytes of the maps of what is drawn, if more than the least


class Spread(NamedTuple):
    """Prompts from the whole range of a feature's scores, the strongest first; −1 where there are fewer."""

    prompts: Int64[Tensor, "d_sae n"]
    scores: Float[Tensor, "d_sae n"]
    quantiles: Float[Tensor, "d_sae n"]
    maps: Float16[Tensor, "d_sae n places"]


@dataclass(eq=False)
class Kept:
    """The `n` prompts of each feature with the largest keys above 0, with their scores and maps."""

    d_sae: int
    n: int
    places: int
    keys: Tensor = field(init=False)  # [d_sae, n], the largest first
    prompts: Tensor = field(init=False)  # [d_sae, n], −1 where there are fewer
    scores: Tensor = field(init=False)  # [d_sae, n]
    maps: Tensor = field(init=False)  # [d_sae, n, places] float16

    def __post_init__(self) -> None:
        self.keys, self.scores = torch.zeros(2, self.d_sae, self.n)
        self.prompts = torch.full((self.d_sae, self.n), -1)
        self.maps = torch.zeros(self.d_sae, self.n, self.places, dtype=torch.float16)

    def take(
        self,
        keys: Float[Tensor, "rows d_sae"],
        scores: Float[Tensor, "rows d_sae"],
        maps: Float[Tensor, "rows places d_sae"],
        first: int,
    ) -> None:
        """Takes in a batch.

        Args:
            keys: Prompts with larger ones are kept; 0 is never kept.
            scores: Of the same prompts.
            maps: The mean activation at each place.
            first: Number of the first prompt.
        """
        best = keys.T.topk(min(self.n, len(keys)), dim=1)
        features = torch.arange(self.d_sae)[:, None]
        numbers = torch.where(best.values > 0, best.indices + first, -1)
        self.keys, keep = torch.cat([self.keys, best.values], dim=1).topk(self.n, dim=1)
        self.prompts = torch.cat([self.prompts, numbers], dim=1).gather(1, keep)
        self.scores = torch.cat([self.scores, scores.T.gather(1, best.indices)], dim=1).gather(1, keep)
        new = maps.permute(2, 0, 1)[features, best.indices].half()
        self.maps = torch.cat([self.maps, new], dim=1)[features, keep]


def n_drawn(d_sae: int, places: int) -> int:
    """How many prompts are drawn of each feature: as many as there is room for.

    Args:
        d_sae: The number of features.
        places: Of a map.

    Returns:
        `LEAST_DRAWN` … `MOST_DRAWN`.
    """
    return min(MOST_DRAWN, max(LEAST_DRAWN, ROOM // (2 * d_sae * max(places, 1))))


def drawn_keys(scores: Float[Tensor, "rows d_sae"], first: int) -> Float[Tensor, "rows d_sae"]:
    """The keys (2), the same however prompts are batched.

    Args:
        scores: Of a batch, 0 or more.
        first: Number of its first prompt.

    Returns:
        Uniform in (0, 1] where a feature fires, else 0.
    """
    rows = [1 - torch.rand(scores.shape[1], generator=keyed_generator(0, first + row)) for row in range(len(scores))]
    return torch.where(scores > 0, torch.stack(rows), 0.0)


def spread_of(drawn: Kept, scores: Float[Tensor, "prompts d_sae"]) -> Spread:
    """From the drawn prompts of each feature those nearest to the quantiles `TARGETS`, each once.

    Args:
        drawn: Kept by `drawn_keys`.
        scores: Of all prompts, from which quantiles (3) are counted.

    Returns:
        `len(TARGETS)` for each feature.
    """
    firing = (scores > 0).sum(dim=0).clamp_min(1)
    below = [((scores > 0) & (scores <= drawn.scores[:, at])).sum(dim=0) for at in range(drawn.n)]
    quantiles = torch.stack(below, dim=1) / firing[:, None]  # (3)
    free = torch.where(drawn.prompts >= 0, quantiles, torch.inf)
    chosen = []
    for target in TARGETS:
        nearest = (free - target).abs().argmin(dim=1, keepdim=True)
        chosen.append(torch.where(free.gather(1, nearest).isinf(), -1, nearest))
        free = free.scatter(1, nearest, torch.inf)
    at = torch.cat(chosen, dim=1)
    there, at = at >= 0, at.clamp_min(0)
    found = torch.where(there, quantiles.gather(1, at), -1.0)
    found, order = found.sort(dim=1, descending=True)
    at, there = at.gather(1, order), there.gather(1, order)
    maps = drawn.maps[torch.arange(drawn.d_sae)[:, None], at]
    return Spread(torch.where(there, drawn.prompts.gather(1, at), -1), drawn.scores.gather(1, at), found, maps)
