"""Features → pixels: where in a picture and when in its making the features of a picture site fire."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from probes.attribution import feature_maps
from saes.dictionary import Code
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_features, check_origin, dictionary_on, open_sae, site_of
from workbench.activations.reading import Reading, read_batch
from workbench.interpret.attribution.words import BATCH, MAP_SIZE
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.models.requests import pair


class FeaturePictures(NamedTuple):
    """Pictures, the timestep of each image call, and the activations there, in the features' own units."""

    images: UInt8[np.ndarray, "n image_height image_width 3"]
    timesteps: Float[np.ndarray, " steps"]
    maps: Float32[np.ndarray, "n steps features height width"]


@torch.no_grad()
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

    Raises `WorkbenchError` for an SAE at a text site, which has no pixels, for features that the SAE lacks, and for a
    Janus, none of whose calls holds a whole picture.
    """
    if AUTOREGRESSIVE in model.capabilities:
        raise WorkbenchError(
            f"{model.name} writes a picture cell by cell, so no call of it holds a map of features.",
            "Harvest the SAE's site: the labels y and x say which cell a row is.",
        )
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model, "image"), dictionary_on(opened, model)
    check_features(opened, features)
    cells, chosen = pair(prompts, seeds), torch.tensor(list(features), device=model.device)

    steps: dict[tuple[int, float | None], list[Tensor]] = defaultdict(list)

    def take(reading: Reading) -> None:
        values = chosen_values(dictionary.encode(reading.x), chosen)
        steps[reading.call, reading.timestep].append(feature_maps(values, range(len(chosen)), size).cpu())

    images = []
    for start in progress(range(0, len(cells), BATCH), "features"):
        texts, numbers = zip(*cells[start : start + BATCH], strict=True)
        images.append(read_batch(model, [site], texts, take, seeds=numbers, **sampling))
    maps = torch.stack([torch.cat(batches) for batches in steps.values()], dim=1)
    times = np.array([timestep for _, timestep in steps], float)
    return FeaturePictures(np.concatenate(images), times, maps.float().numpy())


def chosen_values(code: Code, features: Tensor) -> Float[Tensor, "*rows features"]:
    """The activations of some features, 0 where they do not fire."""
    return torch.stack([(code.values * (code.indices == feature)).sum(dim=-1) for feature in features], dim=-1)
