"""Features → pixels: where in a picture and when in its making the features of a denoiser site fire."""

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
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.edits.interventions import ablation
from workbench.hooks import Clock, Site
from workbench.interpret.attribution.words import BATCH, MAP_SIZE
from workbench.models import Model
from workbench.models.diffusion.sampling import pair


class FeaturePictures(NamedTuple):
    """Pictures, the timestep of each denoiser call, and the activations there, in the features' own units."""

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

    Raises `WorkbenchError` for an SAE at a text site, which has no pixels, and for features that the SAE lacks.
    """
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model), dictionary_on(opened, model)
    if site.component == "prompt":
        raise WorkbenchError(f"{site.alias} is passed before there is a picture.", "Choose an SAE at a denoiser site.")
    ablation(model, opened, features)  # checks the features
    cells, chosen = pair(prompts, seeds), torch.tensor(list(features), device=model.device)

    def keep(_: Site, x: Tensor, clock: Clock) -> Tensor:
        code = dictionary.encode(x[clock.mask("cond")].to(dictionary.W_dec.dtype))
        return feature_maps(chosen_values(code, chosen), range(len(chosen)), size)

    images, maps, records = [], [], []
    for start in progress(range(0, len(cells), BATCH), "features"):
        given = zip(*cells[start : start + BATCH], strict=True)
        with model.session(record=[site], keep=keep) as session:
            images.append(model.generate(*map(list, given), batch_size=BATCH, **sampling))
        records = session.records[site.alias]
        maps.append(torch.stack([kept.cpu() for _, kept in records], dim=1))
    times = np.array([clock.timestep for clock, _ in records], float)
    return FeaturePictures(np.concatenate(images), times, torch.cat(maps).float().numpy())


def chosen_values(code: Code, features: Tensor) -> Float[Tensor, "*rows features"]:
    """The activations of some features, 0 where they do not fire."""
    return torch.stack([(code.values * (code.indices == feature)).sum(dim=-1) for feature in features], dim=-1)
