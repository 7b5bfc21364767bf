"""Runs prompts and says what sites hold: the one place that knows how a kind of model is read.

A prompt's site is read while the prompts are encoded, a picture's site while pictures are made, call by call inside the
hook, so that memory holds one call. What follows (means, features, rows of a store) is a reducer: a function that takes
one `Reading` after the other and keeps what it needs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn import functional as F

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from saes.shuffling import keyed_generator
from workbench.activations.positions import PARTS_OF_A_LINE, Frame, Part, begin_columns, frame_of, marked, places
from workbench.hooks import Clock, Place, Places, Site, SiteEdit, Step
from workbench.models import Janus, Model
from workbench.models.images import Images
from workbench.settings import settled

TEXT_BATCH, IMAGE_BATCH = 64, 16  # prompts encoded, and pictures made, at a time

Thinning = Callable[[int, range, int], Int64[Tensor, "rows kept"]]
"""Which of a picture's positions are kept: given how many there are, the numbers of the prompts and of the call, a row
of positions for each prompt, or one row for all of them."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a site held in one call of the model, in the conditional rows: row i belongs to prompt `prompts[i]`.

    Args:
        site: Where.
        call: Number of the call of the site's component for these prompts, from 0.
        step: How far the picture is; None while prompts are encoded.
        prompts: Numbers of the prompts in the list that is read.
        x: The activations, on the model's device.
        places: What each position stands for.
        position: Number of each position among all of the site's: token of the prompt, pixel of the latents. Where
            prompt and picture are one sequence: token of the prompt, or cell of the picture, as `places` says.
        token_ids: Id of each token; None where the positions are latent pixels. Of a picture's token it is the code.
    """

    site: Site
    call: int
    step: Step | None
    prompts: range
    x: Float[Tensor, "rows positions d"]
    places: Places
    position: Int64[Tensor, "rows positions"]
    token_ids: Int[Tensor, "rows positions"] | None

    @property
    def timestep(self) -> float | None:
        """Noise level in units of the training schedule, 0 … 1000; None while prompts are encoded."""
        return None if self.step is None else self.step.timestep

    @property
    def content(self) -> Bool[Tensor, "rows positions"]:
        """True at a prompt's words and end token, and in all of a picture."""
        return marked(self.places)

    @property
    def after_begin(self) -> Bool[Tensor, "rows positions"]:
        """True at all that is there, padding too, but for the begin token, which is equal in every prompt."""
        return marked(self.places, "all") & (self.places != Place.BEGIN)

    def on_grid(self, values: Float[Tensor, "rows positions n"]) -> Float[Tensor, "rows cells n"]:
        """Values of this call's positions at the picture's cells or pixels, row by row; 0 where the call has none."""
        if self.token_ids is None:
            return values
        cells = torch.where(self.places == Place.PICTURE, self.position, self.site.positions)  # one more: no cell
        grid = values.new_zeros(len(values), self.site.positions + 1, values.shape[-1])
        return grid.scatter_(1, cells[..., None].expand_as(values), values)[:, :-1]

    @property
    def parts(self) -> dict[Part, Bool[Tensor, "rows positions"]]:
        """The positions that are `content`, by what they are part of: all together where a site has the prompt or the
        picture alone; else the words, the chat template, the begin-of-image token and each row of the picture's grid.
        """
        if self.token_ids is None or self.site.component == "prompt":
            return {Part("prompt" if self.step is None else "picture", self.call): self.content}
        row, found = self.position // round(self.site.positions**0.5), {}
        for place, name in PARTS_OF_A_LINE.items():
            own = self.places == place
            for step in row[own].unique().tolist() if place == Place.PICTURE else [0] * bool(own.any()):
                found[Part(name, step)] = own & (row == step) if place == Place.PICTURE else own
        return found

    @property
    def prompt(self) -> Int64[Tensor, "rows positions"]:
        """Number of the prompt of each position, on the CPU."""
        return torch.tensor(self.prompts)[:, None].expand(self.places.shape)

    def without_begin(self) -> "Reading":
        """The same without the begin token, which is equal in every prompt."""
        return self._at(torch.arange(begin_columns(self.places), self.x.shape[1])[None])

    def thinned(self, thinning: Thinning) -> "Reading":
        """The same at some of a picture's positions (see `evenly` and `drawn`); prompts stay whole.

        Where prompt and picture are one sequence, the others stay in the tensors as `Place.ABSENT`.
        """
        if self.token_ids is not None and self.site.component == "image":
            cells = thinning(self.site.positions, self.prompts, 0).to(self.x.device)
            left_out = (self.places == Place.PICTURE) & ~(self.position[..., None] == cells[:, None]).any(-1)
            return replace(self, places=self.places.masked_fill(left_out, Place.ABSENT))
        if not (self.places == Place.PICTURE).all():
            return self
        return self._at(thinning(self.x.shape[1], self.prompts, self.call))

    def _at(self, columns: Int64[Tensor, "rows kept"]) -> "Reading":
        if columns.shape[1] == self.x.shape[1]:
            return self
        row, columns = torch.arange(len(self.x))[:, None], columns.to(self.x.device)
        names = [name for name in ("x", "places", "position", "token_ids") if getattr(self, name) is not None]
        return replace(self, **{name: getattr(self, name)[row, columns] for name in names})


Take = Callable[[Reading], None]


def evenly(most: int) -> Thinning:
    """At most so many of a picture's positions, evenly spaced from the first to the last, the same in each call."""

    def chosen(positions: int, prompts: range, call: int) -> Int64[Tensor, "1 kept"]:
        return torch.linspace(0, positions - 1, min(most, positions)).round().long()[None]

    return chosen


def drawn(rate: float, seed: int) -> Thinning:
    """A random share of a picture's positions, at least one: others in each prompt and call, equal at all sites of one
    resolution. `rate` lies in (0, 1]."""

    def chosen(positions: int, prompts: range, call: int) -> Int64[Tensor, "rows kept"]:
        n = max(1, round(rate * positions))
        generators = (keyed_generator(seed, prompt, call) for prompt in prompts)
        rows = [torch.randperm(positions, generator=generator)[:n] for generator in generators]
        return torch.stack(rows).sort(dim=1).values

    return chosen


def read(
    model: Model,
    sites: Iterable[Site],
    prompts: Sequence[str],
    take: Take,
    *,
    seeds: int | Sequence[int] = 0,
    progress: Progress = SILENT,
    label: str = "",
    **sampling: Any,
) -> None:
    """Runs prompts batch by batch and hands `take` a `Reading` for each site and call.

    Pictures are made if a site lies on the picture's side; otherwise the prompts are only encoded.

    Args:
        model: The model, with whatever edits are in place.
        sites: Where to read.
        prompts: One or more.
        take: Called inside the hook, in the order of the calls, with float32 activations.
        seeds: Of the pictures, one each; a number n stands for n, n + 1, ….
        progress: Shows the batches.
        label: What progress calls them.
        sampling: Further arguments of `model.generate`.

    Raises:
        WorkbenchError: There are no prompts, or no sites.
    """
    chosen = list(sites)
    size = IMAGE_BATCH if makes_pictures(chosen) else TEXT_BATCH
    seeds = range(seeds, seeds + len(prompts)) if isinstance(seeds, int) else seeds
    if not prompts or not chosen:
        raise WorkbenchError(f"There are no {'sites' if prompts else 'prompts'}.", "Give at least one.")
    for start in progress(range(0, len(prompts), size), label):
        part = slice(start, start + size)
        read_batch(model, chosen, prompts[part], take, seeds=seeds[part], first=start, **sampling)


@torch.no_grad()
def read_batch(
    model: Model,
    sites: Iterable[Site],
    prompts: Sequence[str],
    take: Take,
    *,
    seeds: Sequence[int],
    first: int = 0,
    pictures: bool | None = None,
    dtype: torch.dtype | None = torch.float32,
    **sampling: Any,
) -> Images:
    """`read` for prompts that are run at once.

    Args:
        model, sites, prompts, take, seeds, sampling: As for `read`.
        first: Number of the first prompt.
        pictures: Whether pictures are made; by default, if a site lies on the picture's side. Without them, a language
            model that writes pictures reads the prompts and nothing more.
        dtype: Of the activations; None: as the model has them.

    Returns:
        The pictures; none of them where the prompts were only encoded.
    """
    chosen = list(sites)
    with watched(model, chosen, take, range(first, first + len(prompts)), dtype=dtype):
        if makes_pictures(chosen) if pictures is None else pictures:
            return model.generate(prompts, list(seeds), batch_size=len(prompts), **settled(model.settings, sampling))
        if makes_pictures(chosen) and isinstance(model, Janus):
            model.logits(torch.zeros(len(prompts), 1, dtype=torch.int64), prompts)
        else:
            model.encode(prompts)
    return np.zeros((0, model.image_size, model.image_size, 3), np.uint8)


@contextmanager
def watched(
    model: Model,
    sites: Iterable[Site],
    take: Take,
    prompts: range,
    *,
    edits: Sequence[SiteEdit] = (),
    dtype: torch.dtype | None = torch.float32,
) -> Iterator[None]:
    """Hands `take` a `Reading` for each site and call of whatever the body runs, whose conditional rows are `prompts`.

    Args:
        model, sites, take, dtype: As for `read_batch`.
        prompts: Numbers of the prompts.
        edits: In place meanwhile; sites are read after them.
    """
    frames = {site: frame_of(model, site) for site in sites}

    def keep(site: Site, activation: Tensor, clock: Clock) -> None:
        if clock.mask("cond").any():
            take(_reading(site, activation, clock, prompts, frames[site], dtype))

    with model.session(record=list(frames), edits=edits, keep=keep):
        yield


def makes_pictures(sites: Iterable[Site]) -> bool:
    """Whether one of the sites is passed only while pictures are made."""
    return any(site.component == "image" for site in sites)


def _reading(
    site: Site, activation: Tensor, clock: Clock, numbers: range, frame: Frame, dtype: torch.dtype | None
) -> Reading:
    rows = clock.mask("cond")
    x = activation[rows] if dtype is None else activation[rows].to(dtype)
    position = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    token_ids = None if clock.token_ids is None else clock.token_ids[rows]
    if clock.tokens is not None:
        position, token_ids = clock.tokens.position[rows], clock.tokens.ids[rows]
    found = places(clock, x.shape[1], frame)[rows]
    return Reading(site, clock.call, clock.step, numbers, x, found, position, token_ids)


def score_prompts(
    model: Model,
    site: Site,
    prompts: Sequence[str],
    score: Callable[[Reading], Float[Tensor, "rows *rest"]],
    progress: Progress = SILENT,
    label: str = "",
    **sampling: Any,
) -> Float[Tensor, "prompts *rest"]:
    """The score of each prompt; the largest over calls where there are several, as in denoising.

    Args:
        model, site, prompts, progress, label, sampling: As for `read`. Prompt number i has the seed i.
        score: What one call says about its prompts, a row each.

    Raises:
        WorkbenchError: There are no prompts.
    """
    found: dict[range, Tensor] = {}

    def take(reading: Reading) -> None:
        new, known = score(reading), found.get(reading.prompts)
        found[reading.prompts] = new if known is None else torch.maximum(known, new)

    read(model, [site], prompts, take, progress=progress, label=label, **sampling)
    return torch.cat(list(found.values()))


@dataclass(frozen=True, eq=False)
class Held:
    """What a site holds of some prompts, padding included: rows are prompts. Where their lengths differ, the shorter
    ones stand behind positions that are `ABSENT`."""

    x: Float[Tensor, "prompts positions d"]
    places: Places
    token_ids: Int[Tensor, "prompts positions"]


def held(model: Model, site: Site, prompts: Sequence[str], progress: Progress = SILENT, label: str = "") -> Held:
    """Reads prompts whole at a site that they pass, in float32. Raises `WorkbenchError` if there are no prompts."""
    found: list[Reading] = []
    read(model, [site], prompts, found.append, progress=progress, label=label, pictures=False)
    width = max(each.x.shape[1] for each in found)
    x = [F.pad(each.x, (0, 0, width - each.x.shape[1], 0)) for each in found]
    places = [F.pad(each.places, (width - each.places.shape[1], 0), value=Place.ABSENT) for each in found]
    ids = [F.pad(each.token_ids, (width - each.token_ids.shape[1], 0)) for each in found if each.token_ids is not None]
    return Held(torch.cat(x), torch.cat(places), torch.cat(ids))
