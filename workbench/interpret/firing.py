"""Which features fire on one prompt, word by word, and which on one picture that is given, place by place.

A picture goes into a denoiser as its training pictures did: encoded, noised to one timestep, read in one pass. A Janus
reads the picture's tokens behind a prompt; the last of them is never read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from probes.attribution import feature_maps
from saes.dictionary import Code
from saes.errors import WorkbenchError
from saes.files import SAE
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.activations.positions import frame_of, words_at
from workbench.activations.reading import Reading, Take, read_batch, watched
from workbench.hooks import Place, Site
from workbench.interpret.attribution.pictures import chosen_values
from workbench.models import Diffusion, Janus, Model
from workbench.models.diffusion.prediction import noised


@dataclass(frozen=True, eq=False)
class OnWords:
    """The features of one prompt. `begins`: the first token is a begin token, which is equal in every prompt."""

    tokens: tuple[str, ...]
    begins: bool
    features: tuple[int, ...]  # in the order of the words on which they are strongest
    values: Float32[np.ndarray, "tokens features"]


@dataclass(frozen=True, eq=False)
class OnPicture:
    """The features of one picture, the strongest first. `seen` is what the model saw of it, as a picture."""

    features: tuple[int, ...]
    scores: tuple[float, ...]  # the largest activation at any place
    maps: Float32[np.ndarray, "features y x"]
    seen: UInt8[np.ndarray, "h w 3"]


@torch.no_grad()
def on_words(model: Model, sae: SAE | str | Path, prompt: str, n: int) -> OnWords:
    """The features that fire most on a prompt's own tokens and its end token.

    Args:
        model: The model, with whatever edits are in place.
        sae: An SAE at a site that prompts pass.
        prompt: A text.
        n: How many features at most: the strongest of each token first, then the strongest of all.

    Returns:
        The features and their activations.

    Raises:
        WorkbenchError: No prompt passes the SAE's site, or the SAE is of another model.
    """
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model, "prompt"), dictionary_on(opened, model)
    found: list[tuple[Code, Reading]] = []
    read_batch(
        model, [site], [prompt], lambda reading: found.append((dictionary.encode(reading.x), reading)), seeds=[0],
        pictures=False,
    )  # fmt: skip
    tokens = words_at(model, site, [prompt])[0]
    table = torch.zeros(len(tokens), dictionary.d_sae)
    for code, reading in found:
        own = reading.content[0] & (reading.places[0] != Place.PICTURE)
        at = reading.position[0][own].cpu()
        dense = table.new_zeros(len(at), dictionary.d_sae)
        dense.scatter_add_(1, code.indices[0][own].cpu(), code.values[0][own].float().cpu())
        table[at] = dense
    features = strongest_by_word(table, n)
    begins = isinstance(model, Janus) or frame_of(model, site).begins
    return OnWords(tokens, begins, tuple(features), table[:, features].numpy())


def strongest_by_word(table: Float[Tensor, "tokens d_sae"], n: int) -> list[int]:
    """The strongest feature of each token, then the strongest of all, ordered by where they are strongest.

    Args:
        table: Activations, 0 or more.
        n: How many at most.

    Returns:
        Numbers of features that fire.
    """
    largest, at = table.max(dim=0)
    of_each = [int(row.argmax()) for row in table if row.max() > 0]
    of_all = largest.argsort(descending=True)[:n].tolist()
    chosen = list(dict.fromkeys([*sorted(of_each, key=lambda f: -largest[f]), *of_all]))
    firing = [feature for feature in chosen if largest[feature] > 0][:n]
    return sorted(firing, key=lambda feature: (int(at[feature]), -float(largest[feature])))


@torch.no_grad()
def on_picture(
    model: Model,
    sae: SAE | str | Path,
    image: UInt8[np.ndarray, "h w 3"],
    n: int,
    *,
    timestep: int = 200,
    prompt: str = "",
    seed: int = 0,
    size: int = 64,
) -> OnPicture:
    """The features that fire most on a picture that is given.

    Args:
        model: The model, with whatever edits are in place.
        sae: An SAE at a site that pictures pass.
        image: Of the model's own size.
        n: How many features at most.
        timestep: To which the latents are noised: 0 is the picture, 999 nearly all noise. Not used by a Janus.
        prompt: What the model is told of the picture.
        seed: Of the noise. Not used by a Janus.
        size: Height and width of the maps.

    Returns:
        The features and where they fire.

    Raises:
        WorkbenchError: No picture passes the SAE's site, the SAE is of another model, the picture of another size, or
            the timestep none of the schedule.
    """
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model, "image"), dictionary_on(opened, model)
    if image.shape[:2] != (model.image_size, model.image_size):
        raise WorkbenchError(
            f"The picture has {image.shape[1]} × {image.shape[0]} pixels, and {model.name} sees {model.image_size}².",
            "Resize it first.",
        )
    found: list[tuple[Code, Bool[Tensor, "rows positions"], Reading]] = []

    def take(reading: Reading) -> None:
        found.append((dictionary.encode(reading.x), reading.places == Place.PICTURE, reading))

    seen = _shown(model, site, image, take, timestep, prompt, seed)
    largest = torch.zeros(dictionary.d_sae, device=model.device)
    for code, own, _ in found:
        largest.scatter_reduce_(0, code.indices[own].flatten(), code.values[own].flatten().float(), "amax")
    scores, features = largest.topk(min(n, dictionary.d_sae))
    scores, features = scores[scores > 0], features[scores > 0]
    if not len(features):
        return OnPicture((), (), np.zeros((0, size, size), np.float32), seen)
    grids = [reading.on_grid(chosen_values(code, features) * own[..., None]) for code, own, reading in found]
    maps = torch.stack(grids).sum(dim=0)  # a call each, of which each holds other places
    drawn = feature_maps(maps, range(len(features)), size)[0].float().cpu().numpy()
    return OnPicture(tuple(features.tolist()), tuple(scores.tolist()), drawn, seen)


def _shown(
    model: Model, site: Site, image: UInt8[np.ndarray, "h w 3"], take: Take, timestep: int, prompt: str, seed: int
) -> UInt8[np.ndarray, "h w 3"]:
    """One pass of the model over the picture; returns what it saw."""
    if isinstance(model, Janus):
        codes = model.codes(image[None])
        with watched(model, [site], take, range(1)):
            model.logits(codes, [prompt])
        return model.pictures(codes)[0]
    assert isinstance(model, Diffusion)
    last = model.pipe.scheduler.config.num_train_timesteps - 1
    if not 0 <= timestep <= last:
        raise WorkbenchError(f"{timestep} is no timestep.", f"Choose 0 (the picture) to {last} (noise).")
    clean = model.latents(image[None])
    latents = noised(model.pipe.scheduler, clean, model.noise([seed]).to(clean), timestep)
    encoding = model.encode([prompt])
    with watched(model, [site], take, range(1)):
        model.noise_prediction(latents, timestep, encoding)
    return model.images(latents)[0]
