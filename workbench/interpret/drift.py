"""How far edits push activations away from those that the model makes by itself, site by site and step by step."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes.drift import DriftMeter
from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.reading import Reading, evenly, read
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.hooks import Site
from workbench.models import Model

QUANTILE = 0.99  # of held-out real rows: what lies beyond it is called far
POSITIONS = 64  # of a picture, evenly spaced


class Rows(NamedTuple):
    """Activations of some prompts at one site and timestep, and the number of the prompt of each."""

    x: Float[Tensor, "n d"]
    prompt: Int[Tensor, " n"]


class Place(NamedTuple):
    """A site, the part of what it holds (`activations.positions.Part`), and the timestep, None but in denoising."""

    site: str
    part: str
    timestep: float | None


def measure_drift(
    model: Model,
    edits: Mapping[str, Edit],
    prompts: Sequence[str],
    real: Sequence[str],
    sites: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """Where the activations of `prompts` lie under each edit, among those of the prompts `real` without any.

    A row for each condition (the unedited model first), site, part and timestep (nan at text sites): a part is the
    prompt or the picture, and of a Janus its words, its chat template, its begin-of-image token and its picture, each
    with a cloud of its own. `distance` is the median over positions, `usual` that of real rows that were held out,
    `beyond` the share of positions farther than 99 % of these, with `low` and `high` over resampled prompts.
    Conditional rows; no begin token, which is the same in every prompt. Prompt number i has the seed seed + i;
    `sampling` is further arguments of `model.generate`. Raises `WorkbenchError` for fewer than four real prompts.
    """
    if UNEDITED in edits:
        raise WorkbenchError(f"An edit is called {UNEDITED!r}.", "Give it another name.")
    places = [model.site(alias) for alias in sites]
    known = _rows(model, places, real, seed + len(prompts), sampling)
    meters = {place: DriftMeter.fit(rows.x, groups=rows.prompt, seed=seed) for place, rows in known.items()}
    found = []
    for name, edit in progress([(UNEDITED, None), *edits.items()], "drift"):
        with model.edited(*([edit] if edit else [])):
            made = _rows(model, places, prompts, seed, sampling)
        found += [{"condition": name, **_measured(meters[place], place, rows)} for place, rows in made.items()]
    return pd.DataFrame(found)


def _measured(meter: DriftMeter, place: Place, rows: Rows) -> dict[str, str | float]:
    distance = meter.distance(rows.x)
    far = (distance > meter.limit(QUANTILE)).double().numpy()
    low, high = middle_95(bootstrap_means(far, rows.prompt.numpy()))
    timestep = float("nan") if place.timestep is None else place.timestep
    usual = float(meter.reference.median())
    return {
        "site": place.site, "part": place.part, "timestep": timestep, "distance": float(distance.median()),
        "usual": usual, "beyond": float(far.mean()), "low": low, "high": high,
    }  # fmt: skip


def _rows(
    model: Model, sites: Sequence[Site], prompts: Sequence[str], seed: int, sampling: Mapping[str, Any]
) -> dict[Place, Rows]:
    """Every call's activations, those of calls at equal timesteps together."""
    parts: dict[Place, list[Rows]] = defaultdict(list)

    def take(reading: Reading) -> None:
        seen = reading.thinned(evenly(POSITIONS))
        for part, own in seen.parts.items():
            mask = own if len(seen.parts) > 1 else seen.after_begin
            place = Place(seen.site.alias, part.name, seen.timestep)
            parts[place].append(Rows(seen.x[mask].cpu(), seen.prompt[mask.cpu()]))

    read(model, sites, prompts, take, seeds=seed, **sampling)
    return {place: Rows(*(torch.cat(column) for column in zip(*some, strict=True))) for place, some in parts.items()}
