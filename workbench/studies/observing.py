"""What a model's sites hold while it reads prompts: whole activations of a text, a thinned sample of pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.hooks import Clock, Site
from workbench.models import Model

POSITIONS = 256  # at most so many pixels of a row are kept
BATCH = 16


class Observed(NamedTuple):
    """Activations at a site. Text: a row a prompt, keyed by its token ids. Denoiser: a row a prompt and call, keyed by
    its timestep, at evenly spaced pixels."""

    x: Float[Tensor, "rows positions d"]
    keys: Tensor


def observed(model: Model, aliases: Sequence[str], prompts: Sequence[str], seed: int = 0) -> dict[str, Observed]:
    """The conditional activations at sites of one component; picture i has the seed `seed + i`."""
    sites = [model.site(alias) for alias in dict.fromkeys(aliases)]
    with torch.no_grad(), model.session(record=sites, keep=_keep) as session:
        if all(site.component == "prompt" for site in sites):
            model.encode(prompts)
        else:
            model.generate(prompts, range(seed, seed + len(prompts)), batch_size=BATCH)
    found = {}
    for alias, records in session.records.items():
        keys = [_keys(clock, len(x)) for clock, x in records]
        found[alias] = Observed(torch.cat([x for _, x in records]), torch.cat(keys))
    return found


def by_key(seen: Observed, a: Float[Tensor, "rows positions k"]) -> tuple[Tensor, Tensor]:
    """The mean of `a` over the rows and positions of each timestep `[n, 1, k]`, and the timesteps `[n]`."""
    keys, place = seen.keys.unique(return_inverse=True)
    means = [a[place == number].mean(dim=(0, 1)) for number in range(len(keys))]
    return torch.stack(means)[:, None], keys


def _keep(site: Site, x: Tensor, clock: Clock) -> Tensor | None:
    rows = clock.mask("cond")
    if not rows.any():
        return None
    kept = x[rows].float()
    return kept if site.component == "prompt" else kept[:, :: -(-kept.shape[1] // POSITIONS)]


def _keys(clock: Clock, rows: int) -> Tensor:
    if clock.token_ids is not None:
        return clock.token_ids[clock.mask("cond")]
    return torch.full((rows,), float(clock.timestep or 0.0), device=clock.device)


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
