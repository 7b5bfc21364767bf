"""What a model's sites hold while it reads prompts: whole activations of a text, a thinned sample of pictures."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.activations.positions import begin_columns
from workbench.activations.reading import Reading, evenly, makes_pictures, read
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE

POSITIONS = 256  # at most so many pixels of a row are kept


class Observed(NamedTuple):
    """Activations at a site, and what a target is found by.

    Args:
        x: A prompt's site: a row for each prompt. A picture's site: a row for each prompt and call, at evenly spaced
            pixels.
        keys: Token ids of each prompt `[rows, tokens]`, or the timestep of each call `[rows]`.
        begins: How many of the first positions are begin tokens, which no edit touches: 1 or 0.
    """

    x: Float[Tensor, "rows positions d"]
    keys: Tensor
    begins: int

    @property
    def after_begin(self) -> Float[Tensor, "rows positions d"]:
        """`x` without the begin token."""
        return self.x[:, self.begins :]


def observed(model: Model, aliases: Sequence[str], prompts: Sequence[str], seed: int = 0) -> dict[str, Observed]:
    """The conditional activations at sites of one side of the model; picture i has the seed `seed + i`.

    Raises `WorkbenchError` for a model whose sites hold other positions in every call.
    """
    if AUTOREGRESSIVE in model.capabilities:
        raise WorkbenchError(
            f"A study compares equal positions from call to call, and {model.name} has others in each.",
            "Choose a diffusion model.",
        )
    sites = [model.site(alias) for alias in dict.fromkeys(aliases)]
    seen: dict[str, list[Reading]] = defaultdict(list)

    def take(reading: Reading) -> None:
        seen[reading.site.alias].append(reading.thinned(evenly(POSITIONS)))

    read(model, sites, prompts, take, seeds=seed)
    return {alias: _joined(readings) for alias, readings in seen.items()}


def by_key(seen: Observed, a: Float[Tensor, "rows positions k"]) -> tuple[Tensor, Tensor]:
    """The mean of `a` over the rows and positions of each timestep `[n, 1, k]`, and the timesteps `[n]`."""
    keys, place = seen.keys.unique(return_inverse=True)
    means = [a[place == number].mean(dim=(0, 1)) for number in range(len(keys))]
    return torch.stack(means)[:, None], keys


def _joined(readings: Sequence[Reading]) -> Observed:
    x, keys = torch.cat([one.x for one in readings]), torch.cat([_keys(one) for one in readings])
    return Observed(x, keys, begin_columns(readings[0].places))


def _keys(reading: Reading) -> Tensor:
    if reading.token_ids is not None:
        return reading.token_ids
    return torch.full((len(reading.x),), float(reading.timestep or 0.0), device=reading.x.device)


class Observer:
    """Watches some sites of a model; what was seen once is remembered."""

    def __init__(self, model: Model, aliases: Sequence[str], seed: int = 0) -> None:
        self.model, self.aliases, self.seed = model, list(aliases), seed
        self._seen: dict[tuple[str, ...], dict[str, Observed]] = {}

    def of(self, alias: str, prompts: Sequence[str]) -> Observed:
        """The activations at a watched site while the model reads these prompts."""
        key = tuple(prompts)
        if key not in self._seen:
            self._seen[key] = observed(self.model, self.aliases, key, self.seed)
        return self._seen[key][alias]

    def sees_sentences(self, alias: str) -> bool:
        """Whether each prompt has its own row at the site, known by its tokens, and not one for each step."""
        return not makes_pictures([self.model.site(alias)])
