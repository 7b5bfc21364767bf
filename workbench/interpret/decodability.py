"""Where a model's activations tell a concept from its anchor, and whether an edit has taken that away.

Pairs of prompts differ in nothing but the concept ("a red fox", "a red cat"), and both pictures of a pair start from
one noise. A row is a prompt: at text sites the mean over its own tokens, from the first word to the end token, since
images are made from all of them; at picture sites the mean over pixels, at every call. Where prompt and picture are one
sequence (Janus) a row is the mean over the words, over the chat template, at the begin-of-image token, or over the
tokens of one row of the picture. A probe is judged on pairs that it has not seen, so it cannot win by remembering a
prompt, a template or a noise.
    (1)  accuracy: logistic probes in five folds; every pair is held out once; 95 % Wilson interval over prompts
    (2)  control: the mean of (1) over labels flipped at random within pairs; 0.5 if the split leaks nothing
    (3)  after_leace: (1) within each half of the pairs, after an eraser that was fitted to the other half;
         before_leace: the same without the eraser, so that only the eraser is between the two
    (4)  transfer: (1) for probes that were fitted to the unedited model. 0.5 where an edit makes the concept look as
         its anchor, 1 where nothing has changed for these probes, 0 where the two have changed places
A low accuracy under an edit says that the concept has become its anchor; a high one only that it has not, for a hole in
its place is told from the anchor too: there (4) is the question whether the concept is still what it was. Probes here
are linear, and a mean over pixels forgets where things are: what they do not find may be there all the same.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.drift import shrunk_covariance
from probes.linear import held_out_hits, leace, split
from probes.statistics import wilson
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.reading import Reading, read
from workbench.concepts import Concept, check_concept
from workbench.hooks import Site
from workbench.models import Model
from workbench.models.model import Change
from workbench.words import pattern

LEAST_PAIRS = 10  # with fewer, even a perfect probe's interval reaches down to 0.8
FLIPS = 4  # shuffled labels are drawn so often


class Place(NamedTuple):
    """A part of a site (`activations.positions.Part`) and the timestep, which only denoising has."""

    site: str
    part: str
    step: int
    timestep: float | None


Means = dict[Place, Float[Tensor, "prompts d"]]


def contrast(concept: Concept, prompts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Prompts that name the concept, each once, and beside each the same with the anchor in its place.

    Raises `WorkbenchError` for a concept without an anchor, and for a prompt that does not name the concept once.
    """
    if not check_concept(concept).anchor:
        raise WorkbenchError(f"{concept.name!r} has no anchor to tell it from.", "Give it one in its concept file.")
    name = re.compile(pattern(concept.name), re.IGNORECASE)
    templates = {re.sub(r"\b([aA])n \{\}", r"\1 {}", name.sub("{}", prompt)): prompt for prompt in prompts}
    for template, prompt in templates.items():
        if template.count("{}") != 1:
            raise WorkbenchError(f"The prompt {prompt!r} does not name {concept.name!r} once.", "Leave it out.")
    if not templates:
        raise WorkbenchError(f"There are no prompts that name {concept.name!r}.", "Give some.")
    filled = replace(concept, templates=tuple(templates))
    return list(filled.prompts()), list(filled.anchor_prompts())


def decodability(
    model: Model,
    prompts_with: Sequence[str],
    prompts_without: Sequence[str],
    sites: Sequence[str],
    *,
    edits: Sequence[Change] = (),
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """How well linear probes tell prompts with a concept from their partners without, while the edits are in place.

    Prompt number i of either list is a pair, as `contrast` makes them, with the noise of seed + i. A row for each site
    and image call; of a Janus for each site and part of what it reads. Columns: site, part ("prompt", "picture"; of a
    Janus "text", "template", "begin of image", "picture"), step (the call, from 0; the row of a Janus' picture),
    timestep (NaN but for denoising), accuracy with low and high (1), control (2), before_leace and after_leace (3),
    transfer (4; equal to accuracy without edits), all in [0, 1], and n, the number of prompts. Pictures are made, with
    `sampling` as further arguments of `model.generate`, only if a picture site asks. Raises `WorkbenchError` for fewer
    than 10 pairs, a prompt that stands twice, unknown sites, and T5 sites.
    """
    _check_pairs(model, prompts_with, prompts_without)
    places = [model.site(alias) for alias in dict.fromkeys(sites)]

    def means() -> Means:
        sides = [_means(model, places, side, seed, progress, sampling) for side in (prompts_with, prompts_without)]
        return {place: torch.cat([x, sides[1][place]]) for place, x in sides[0].items()}

    unedited = means() if edits else {}
    with model.edited(*edits):
        edited = means()
    rows = []
    for place, x in progress(list(edited.items()), "probe"):
        time = {"timestep": math.nan if place.timestep is None else place.timestep}
        rows.append(place._asdict() | time | judged(x, unedited.get(place), seed))
    order = {site.alias: number for number, site in enumerate(places)}
    return pd.DataFrame(rows).sort_values("site", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def judged(
    x: Float[Tensor, "rows d"], unedited: Float[Tensor, "rows d"] | None = None, seed: int = 0
) -> dict[str, float | int]:
    """(1) to (4) for the rows of one place: those with the concept, then their partners in the same order."""
    n = len(x) // 2
    y, pair = torch.arange(2 * n) < n, torch.arange(n).repeat(2)
    hits = held_out_hits(x, y, pair, seed=seed)
    low, high = wilson(int(hits.sum()), 2 * n)
    draw = torch.Generator().manual_seed(seed)
    flips = [y ^ (torch.rand(n, generator=draw) < 0.5).repeat(2) for _ in range(FLIPS)]
    control = torch.stack([held_out_hits(x, flipped, pair, seed=seed) for flipped in flips])
    before, after = _halves(x, y, pair, seed)
    transfer = hits if unedited is None else held_out_hits(x, y, pair, fitted=unedited, seed=seed)
    return {
        "accuracy": _share(hits), "low": low, "high": high, "control": _share(control), "before_leace": _share(before),
        "after_leace": _share(after), "transfer": _share(transfer), "n": 2 * n,
    }  # fmt: skip


def _halves(
    x: Float[Tensor, "n d"], y: Bool[Tensor, " n"], pair: Int[Tensor, " n"], seed: int
) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """(3), before and after: the hits within each half."""
    half, before, after = split(pair, 2, seed), torch.empty_like(y), torch.empty_like(y)
    for number in (0, 1):
        own, other = half == number, half != number
        erase = leace(x[other], y[other, None].double(), shrunk_covariance(x[other].double()))
        before[own] = held_out_hits(x[own], y[own], pair[own], seed=seed)
        after[own] = held_out_hits(erase(x[own]), y[own], pair[own], seed=seed)
    return before, after


def _share(hits: Bool[Tensor, "*rows"]) -> float:
    return float(hits.double().mean())


def _check_pairs(model: Model, prompts_with: Sequence[str], prompts_without: Sequence[str]) -> None:
    if len(prompts_with) != len(prompts_without):
        raise WorkbenchError(
            f"{len(prompts_with)} prompts with the concept and {len(prompts_without)} without are no pairs.",
            "Give each prompt its partner, at the same place in the other list.",
        )
    if len(prompts_with) < LEAST_PAIRS:
        raise WorkbenchError(
            f"{len(prompts_with)} different pairs of prompts are too few to judge a probe by.",
            f"Give {LEAST_PAIRS} or more.",
        )
    both = [*prompts_with, *prompts_without]
    read = [row.ids for row in model.tokens(both)]  # what is cut off, spaces and capitals make no other prompt
    twice = next((prompt for prompt, ids in zip(both, read, strict=True) if read.count(ids) > 1), None)
    if twice is not None:
        raise WorkbenchError(
            f"The prompt {twice!r} stands twice, as the model reads it, and could be learnt by heart.", "Give it once."
        )


def _means(
    model: Model,
    sites: Sequence[Site],
    prompts: Sequence[str],
    seed: int,
    progress: Progress,
    sampling: Mapping[str, Any],
) -> Means:
    """A row a prompt, at every place."""
    sums: Means = {}
    counts: dict[Place, Float[Tensor, "prompts 1"]] = {}

    def take(reading: Reading) -> None:
        x, rows = reading.x.cpu(), slice(reading.prompts.start, reading.prompts.stop)
        for part, mask in reading.parts.items():
            place, own = Place(reading.site.alias, *part, reading.timestep), mask[..., None].float().cpu()
            if place not in sums:
                sums[place], counts[place] = torch.zeros(len(prompts), x.shape[-1]), torch.zeros(len(prompts), 1)
            sums[place][rows] += (x * own).sum(dim=1)
            counts[place][rows] += own.sum(dim=1)

    read(model, sites, prompts, take, seeds=seed, progress=progress, label="activations", **sampling)
    return {place: total / counts[place] for place, total in sums.items()}
