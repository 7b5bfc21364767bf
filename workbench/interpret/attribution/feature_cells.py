"""Features → cells of a picture that a Janus writes: what each cell's token owes to a feature.

    (1)  E_f(k) = log p(c_k | prompt, c_<k) − log p(c_k | prompt, c_<k; f taken out)        in nats
The tokens c are the model's own picture of the prompt, and the feature is taken out wherever it fires but at the begin
token, in prompt and cells, as `ablation` does. The control takes as much of a random direction out of the same places.
A feature that fires at cells acts there too: (1) says what the picture owes to it, and not that it stands for a word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from saes.errors import check_at_least
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_features, check_origin, dictionary_on, open_sae, site_of
from workbench.hooks import SiteEdit
from workbench.interpret.attribution.graph import DRAWS, turned, without
from workbench.interpret.attribution.likelihood import log_likelihood
from workbench.models import Model
from workbench.models.janus.model import as_janus
from workbench.models.requests import pair
from workbench.settings import settled


class CellEffects(NamedTuple):
    """Pictures, and for each what its cells would lose without a feature (1), beside a control of equal size.

    Args:
        images: uint8 `[n, height, width, 3]`.
        maps: Nats `[n, features, side, side]`, a number a cell; negative where the token is likelier without it.
        control: The same for random directions, mean over the draws.
        spread: The largest |effect| that any one draw has on the mean over a picture's cells, nats `[n, features]`:
            what |mean of a map| has to exceed.
    """

    images: UInt8[np.ndarray, "n height width 3"]
    maps: Float32[np.ndarray, "n features side side"]
    control: Float32[np.ndarray, "n features side side"]
    spread: Float32[np.ndarray, "n features"]


@torch.no_grad()
def cell_effects(
    model: Model,
    sae: SAE | str | Path,
    features: Sequence[int],
    prompts: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> CellEffects:
    """Draws pictures as `model.generate` does and asks what each cell's token owes to features (1).

    Args:
        model: A Janus, with whatever edits are in place.
        sae: At one of its sites: a folder, a shipped name, or a loaded one.
        features: Numbers of its features, at least one.
        prompts: One for all seeds, or one for each.
        seeds: As for `model.generate`.
        draws: Random directions for each feature, at least 1.
        seed: Of these directions.
        progress: Shows the features.
        sampling: Further arguments of `model.generate`.

    Returns:
        Pictures and maps, the features in the order that was given, each once.

    Raises:
        WorkbenchError: The model is no Janus, the SAE is of another model, or lacks a feature.
    """
    janus, opened = as_janus(model, "The effect of a feature on cells"), open_sae(sae)
    check_origin(opened, janus)
    site, chosen = site_of(opened, janus), check_features(opened, features)
    check_at_least(1, draws=draws)
    texts, numbers = (list(column) for column in zip(*pair(prompts, seeds), strict=True))
    codes = janus.sample_codes(texts, numbers, **settled(model.settings, sampling))
    dictionary, draw = dictionary_on(opened, janus), torch.Generator().manual_seed(seed)
    whole = log_likelihood(janus, codes, texts)
    own: list[Tensor] = []
    others: list[Tensor] = []
    for feature in progress(chosen, "effects on cells"):
        row = dictionary.W_dec[feature]
        lost = []
        for direction in (row, *turned(row, draws, draw)):
            with janus.session(edits=[SiteEdit(site, without(dictionary, feature, direction))]):
                lost.append(whole - log_likelihood(janus, codes, texts))
        own.append(lost[0])
        others.append(torch.stack(lost[1:]))
    maps, control = torch.stack(own, dim=1), torch.stack(others, dim=2)  # [n, features, cells]; draws before
    side = round(codes.shape[1] ** 0.5)
    own_maps, turned_maps = (each.unflatten(-1, (side, side)).float().numpy() for each in (maps, control.mean(dim=0)))
    spread = control.mean(dim=-1).abs().amax(dim=0).float().numpy()
    return CellEffects(janus.pictures(codes), own_maps, turned_maps, spread)
