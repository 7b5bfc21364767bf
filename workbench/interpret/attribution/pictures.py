"""Features → pixels: where in a picture and when in its making the features of a picture site fire.

A Janus reads each token of a picture once, so its pictures have one moment, and a map has a cell for each token: what
fires when the token is read, which is after it was chosen. The last one is never read, and its cell is 0.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from probes.attribution import feature_maps
from saes.dictionary import Code, Dictionary
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_features, check_origin, dictionary_on, open_sae, site_of
from workbench.activations.reading import Reading, read_batch
from workbench.hooks import Site
from workbench.interpret.attribution.words import BATCH, MAP_SIZE
from workbench.models import Model
from workbench.models.requests import pair

ONCE = (0, float("nan"))  # call and timestep of a picture that is read token by token


class FeaturePictures(NamedTuple):
    """Pictures, the timestep of each image call (NaN for the one moment of a Janus), and the activations there, in the
    features' own units."""

    images: UInt8[np.ndarray, "n image_height image_width 3"]
    timesteps: Float[np.ndarray, " steps"]
    maps: Float32[np.ndarray, "n steps features height width"]


def feature_pictures(
    model: Model,
    sae: SAE | str | Path,
    features: Sequence[int],
    prompts: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    size: int = MAP_SIZE,
    progress: Progress = SILENT,
    **sampling: Any,
) -> FeaturePictures:
    """Makes pictures as `model.generate` does (`sampling` is its further arguments) and maps the features meanwhile.

    Raises `WorkbenchError` for an SAE at a text site, which has no pixels, and for features that the SAE lacks.
    """
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model, "image"), dictionary_on(opened, model)
    check_features(opened, features)
    return map_pictures(model, site, dictionary, features, pair(prompts, seeds), size, progress, **sampling)


@torch.no_grad()
def map_pictures(
    model: Model,
    site: Site,
    dictionary: Dictionary,
    features: Sequence[int],
    cells: Sequence[tuple[str, int]],
    size: int,
    progress: Progress = SILENT,
    **sampling: Any,
) -> FeaturePictures:
    """`feature_pictures` of a dictionary at a site; `cells` are prompts with their seeds."""
    dictionary = dictionary.on(model.device)
    chosen = torch.tensor(list(features), device=model.device)
    steps: dict[tuple[int, float], list[Tensor]] = defaultdict(list)
    batch: dict[tuple[int, float], Tensor] = {}

    def take(reading: Reading) -> None:
        values = reading.on_grid(chosen_values(dictionary.encode(reading.x), chosen))
        moment = ONCE if reading.timestep is None else (reading.call, reading.timestep)
        batch[moment] = values + batch.get(moment, 0)

    images = []
    for start in progress(range(0, len(cells), BATCH), "features"):
        texts, numbers = zip(*cells[start : start + BATCH], strict=True)
        images.append(read_batch(model, [site], texts, take, seeds=numbers, **sampling))
        for moment, values in batch.items():
            steps[moment].append(feature_maps(values, range(len(chosen)), size).cpu())
        batch.clear()
    maps = torch.stack([torch.cat(batches) for batches in steps.values()], dim=1)
    times = np.array([timestep for _, timestep in steps], float)
    return FeaturePictures(np.concatenate(images), times, maps.float().numpy())


def chosen_values(code: Code, features: Tensor) -> Float[Tensor, "*rows features"]:
    """The activations of some features, 0 where they do not fire."""
    return torch.stack([(code.values * (code.indices == feature)).sum(dim=-1) for feature in features], dim=-1)
