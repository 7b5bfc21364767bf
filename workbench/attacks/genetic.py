"""A genetic search for the ids whose encoding is nearest to a target: the discrete half of Ring-A-Bell.

    (1)  ‖E([begin, ids, end, …]) − y‖², summed over all positions and channels, is to be small

A generation keeps its better half, fills up with children of it, draws some tokens anew, and keeps a copy of its best
as it is: the best loss never rises. Every prompt has a population of its own; those of all are encoded together.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from saes.progress import Progress
from workbench.attacks.at_random import ordinary_tokens
from workbench.models import Model, TokenIds

ENCODED_AT_ONCE = 256


class Genetic(NamedTuple):
    """How the search goes.

    Args:
        tokens: Ids of a prompt.
        population: Prompts of a generation, 2 or more.
        generations: How many.
        crossover: How likely a child has two parents, cut at a random place.
        mutation: How likely a prompt has one token drawn anew.
    """

    tokens: int
    population: int
    generations: int
    crossover: float
    mutation: float

    def fittest(
        self, model: Model, targets: Float[Tensor, "rows tokens d"], draws: Sequence[torch.Generator],
        progress: Progress,
    ) -> Int64[Tensor, "rows k"]:  # fmt: skip
        """The nearest ids to each target, by the model as it is.

        Args:
            model: The model.
            targets: y.
            draws: Decide everything random, one for each target.
            progress: Shows the generations.
        """
        n, k = self.population, self.tokens
        living = [ordinary_tokens(model, n * k, draw).reshape(n, k) for draw in draws]
        losses = distances(model, living, targets)
        for _ in progress(range(self.generations), "generations"):
            living = [
                self.descended(ids, loss, partial(ordinary_tokens, model), draw)
                for ids, loss, draw in zip(living, losses, draws, strict=True)
            ]
            losses = distances(model, living, targets)
        return torch.stack([ids[loss.argmin()] for ids, loss in zip(living, losses, strict=True)])

    def descended(
        self, ids: Int64[Tensor, "n k"], losses: Float[Tensor, " n"], fresh: Callable[[int, torch.Generator], Tensor],
        draw: torch.Generator,
    ) -> Int64[Tensor, "n k"]:  # fmt: skip
        """The next generation, of the same size.

        Args:
            ids: A generation.
            losses: Of each, less is fitter.
            fresh: Draws so many ids, by a generator.
            draw: Decides the rest.
        """
        n, k = ids.shape
        order = losses.argsort(stable=True)
        survivors = ids[order[: max(n // 2, 1)]]
        parents = survivors[torch.randint(len(survivors), (2, n - len(survivors)), generator=draw)]
        cut = torch.randint(1, k + 1, (parents.shape[1], 1), generator=draw)
        crossed = torch.rand(parents.shape[1], 1, generator=draw) < self.crossover
        children = torch.where(crossed & (torch.arange(k) >= cut), parents[1], parents[0])
        whole = torch.cat([survivors, children])
        hit = (torch.rand(n, generator=draw) < self.mutation).nonzero()[:, 0]
        whole[hit, torch.randint(k, (len(hit),), generator=draw)] = fresh(len(hit), draw)
        whole[0] = ids[order[0]]
        return whole


def framed(model: Model, ids: Int64[Tensor, "n k"]) -> tuple[Int64[Tensor, "n _"], ...]:
    """Ids between begin and end, padded to the full length, for every tokenizer.

    Raises:
        WorkbenchError: They do not fit, or the tokenizers have vocabularies of their own.
    """
    tokenizers = [getattr(model.pipe, name) for name in model.architecture.tokenizers]
    if any(one.get_vocab() != tokenizers[0].get_vocab() for one in tokenizers[1:]):
        raise WorkbenchError(
            f"{model.name} has tokenizers of different vocabularies, so that ids mean different words.",
            "Take the variant embedding, or another model.",
        )
    found = []
    for (frame,), tokenizer in zip(
        (one[:, None].unbind(1) for one in model.token_ids("").ids), tokenizers, strict=True
    ):
        k = ids.shape[1]
        if k + 2 > frame.shape[-1]:
            raise WorkbenchError(
                f"{k} tokens do not fit into a prompt of {frame.shape[-1]}.", f"Choose {frame.shape[-1] - 2} or fewer."
            )
        whole = frame.reshape(1, -1).repeat(len(ids), 1)
        whole[:, 1 : k + 1], whole[:, k + 1] = ids, tokenizer.eos_token_id
        found.append(whole)
    return tuple(found)


def distances(
    model: Model, living: Sequence[Int64[Tensor, "_ k"]], targets: Float[Tensor, "rows tokens d"]
) -> list[Float[Tensor, " _"]]:
    """(1) for each prompt of each row's generation; prompts of all rows are encoded together."""
    ids = framed(model, torch.cat(list(living)))
    aims = targets.repeat_interleave(torch.tensor([len(one) for one in living], device=targets.device), dim=0)
    found = []
    for start in range(0, len(aims), ENCODED_AT_ONCE):
        part = slice(start, start + ENCODED_AT_ONCE)
        encoded = model.encode(TokenIds(tuple(one[part] for one in ids))).embeddings
        found.append((encoded - aims[part]).double().square().sum(dim=(1, 2)))  # (1)
    return list(torch.cat(found).cpu().split([len(one) for one in living]))
