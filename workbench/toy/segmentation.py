"""Do maps of words lie on what the words name? Measured on rendered pictures, whose masks are exact.

A scene is rendered, encoded, and noised at some timesteps; the model looks at each once, with the scene's caption. A
Janus reads the picture's tokens behind the caption, once. The attention to an object's word, averaged over these calls
(or, of a Janus, what cells would lose without the word), becomes a region of the very size of the object's mask, so
that neither a threshold nor a size can be chosen well or badly, and a control has the same size:
    (1)  R(A, M) = the |M| pixels where A is largest,   IoU = |R ∩ M| / |R ∪ M|
Controls for the same mask: the map of another word of the caption ("other word": the other object where there are two,
else the mean over the caption's other words but the colour, which is the object's too), and the map of an object's word
in another picture with as many objects at the same side ("other picture": what knowing where objects tend to be gives).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from probes.attribution import feature_maps
from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.interpret.attribution.cells import attended, lost
from workbench.interpret.attribution.places import positions_of
from workbench.interpret.attribution.words import BATCH, WordRecorder
from workbench.models import Diffusion, Janus, Model
from workbench.models.diffusion.model import as_diffusion
from workbench.models.diffusion.prediction import noised
from workbench.toy.render import Picture, render
from workbench.toy.scenes import Placed, Scene
from workbench.toy.world import COLOURS, IMAGE_SIZE, THINGS

TIMESTEPS = (100.0, 300.0, 500.0, 700.0)
OPENING = "a photo of"
SCORES = ("iou", "other_word", "other_picture")
HOWS = ("attention", "likelihood")


MapsOf = Callable[[Any, Any, Progress], Any]  # captioned scenes and their pictures → `[pictures, words, side, side]`


class Captioned(NamedTuple):
    scene: Scene
    caption: str


def captioned_scenes(n: int, seed: int = 0) -> list[Captioned]:
    """Scenes of one object and as many of two, objects and colours all different within a scene.

    Args:
        n: How many of each.
        seed: Draws others.

    Returns:
        Those of one object first.
    """
    rng = np.random.default_rng(seed)
    return [_captioned(rng, objects) for objects in (1, 2) for _ in range(n)]


@torch.no_grad()
def segmentation(
    model: Model,
    n: int = 48,
    *,
    how: str = "attention",
    timesteps: Sequence[float] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """How maps of words lie on the masks of rendered objects.

    Args:
        model: The toy, or the toy Janus.
        n: Pictures of one object, and as many of two. The noise of a picture is that of its number as seed.
        how: What is mapped: "attention" to a word or, of a Janus, "likelihood": what a cell's token would lose without
            the word (`interpret.attribution.cells`).
        timesteps: At which a diffusion model looks, 0 to 1000; `TIMESTEPS` if left out. A Janus has none.
        seed: Draws the scenes.
        progress: Shows the batches.

    Returns:
        A row for each object. Columns: picture, objects (1 or 2), thing, colour, area (share of the picture), and in
        [0, 1] `iou`, `other_word`, `other_picture`.

    Raises:
        WorkbenchError: `how` is unknown or not of this kind of model, or a Janus is given timesteps.
    """
    maps_of = _way(model, how, timesteps)
    rows = []
    scenes = captioned_scenes(n, seed)
    for objects in (1, 2):
        some = [captioned for captioned in scenes if len(captioned.scene.objects) == objects]
        pictures = [render(captioned.scene) for captioned in some]
        maps = maps_of(some, pictures, progress)
        for place, (captioned, picture) in enumerate(zip(some, pictures, strict=True)):
            elsewhere = maps[(place + 1) % len(some)]
            for number, mask in enumerate(picture.masks):
                others = maps[place][[objects - 1 - number] if objects == 2 else range(1, len(maps[place]))]
                item = captioned.scene.objects[number]
                rows.append({
                    "picture": (objects - 1) * n + place, "objects": objects, "thing": item.thing,
                    "colour": item.colour, "area": float(mask.mean()), "iou": iou(maps[place][number], mask),
                    "other_word": float(np.mean([iou(other, mask) for other in others])),
                    "other_picture": iou(elsewhere[number], mask),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _way(model: Model, how: str, timesteps: Sequence[float] | None) -> MapsOf:
    """What makes the maps of some pictures."""
    if how not in HOWS:
        raise unknown_name("way to map words", how, HOWS)
    if not isinstance(model, Janus):
        if how != "attention":
            raise WorkbenchError(
                f"{model.name} has no likelihood of a picture's cells.", "Map the attention, or choose a Janus."
            )
        chosen = TIMESTEPS if timesteps is None else timesteps
        return partial(_maps, as_diffusion(model, "Attention at timesteps"), chosen)
    if timesteps is not None:
        raise WorkbenchError(f"{model.name} looks at no timesteps.", "Leave them out.")
    return partial(_cell_maps, model, how)


def iou(attention: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]) -> float:
    """Overlap of a mask with the region, as large as the mask, that is attended most.

    Args:
        attention: `[height, width]`.
        mask: `[height, width]`, true somewhere.

    Returns:
        In [0, 1].
    """
    region = np.zeros_like(mask)
    region.flat[np.argsort(-attention, axis=None, kind="stable")[: int(mask.sum())]] = True  # (1)
    return float((region & mask).sum() / (region | mask).sum())


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means with 95 % intervals (bootstrap over pictures) by the number of objects, and of all.

    Args:
        table: Of `segmentation`.

    Returns:
        Columns: objects, score, mean, low, high, n. The score `advantage` is `iou` − `other_word` of the same object,
        paired.
    """
    scored = table.assign(advantage=table["iou"] - table["other_word"])
    rows = []
    for name, group in [*((str(number), own) for number, own in scored.groupby("objects")), ("all", scored)]:
        pictures = pd.factorize(group["picture"])[0]
        for score in (*SCORES, "advantage"):
            values = group[score].to_numpy(float)
            low, high = middle_95(bootstrap_means(values, pictures))
            rows.append((name, score, values.mean(), low, high, len(group)))
    return pd.DataFrame(rows, columns=["objects", "score", "mean", "low", "high", "n"])


def _captioned(rng: np.random.Generator, objects: int) -> Captioned:
    things = rng.choice(list(THINGS), objects, replace=False)
    colours = rng.choice(list(COLOURS), objects, replace=False)
    placed = tuple(Placed(str(thing), str(colour)) for thing, colour in zip(things, colours, strict=True))
    named = " and ".join(f"a {item.colour} {item.thing}" for item in placed)
    return Captioned(Scene(int(rng.integers(2**31)), placed), f"{OPENING} {named}")


def _cell_maps(
    model: Janus, how: str, scenes: Sequence[Captioned], pictures: Sequence[Picture], progress: Progress
) -> Float[np.ndarray, "pictures words side side"]:
    """As `_maps`, of the tokens of the pictures."""
    parts = []
    for start in progress(range(0, len(scenes), BATCH), "maps of words"):
        some = slice(start, start + BATCH)
        codes = model.codes(np.stack([picture.image for picture in pictures[some]]))
        captions, places = [one.caption for one in scenes[some]], [_places(model, one) for one in scenes[some]]
        if how == "attention":
            cells = attended(model, codes, captions, places).mean(dim=(2, 3))
        else:
            cells = torch.stack(lost(model, codes, captions, places))
        parts.append(feature_maps(cells.mT, range(cells.shape[1]), IMAGE_SIZE).numpy())
    return np.concatenate(parts)


def _maps(
    model: Diffusion,
    timesteps: Sequence[float],
    scenes: Sequence[Captioned],
    pictures: Sequence[Picture],
    progress: Progress,
) -> Float[np.ndarray, "pictures words side side"]:
    """First the maps of the objects; of single objects, then those of the opening's words and of the article."""
    parts = []
    for start in progress(range(0, len(scenes), BATCH), "maps of words"):
        some = slice(start, start + BATCH)
        latents = model.latents(np.stack([picture.image for picture in pictures[some]]))
        noise = model.noise(range(start, start + len(latents))).to(latents)
        encoding = model.encode([captioned.caption for captioned in scenes[some]])
        places = [_places(model, captioned) for captioned in scenes[some]]
        with WordRecorder(model, places) as recorder:
            for t in timesteps:
                model.noise_prediction(noised(model.pipe.scheduler, latents, noise, t), t, encoding)
        parts.append(recorder.maps(IMAGE_SIZE).numpy())
    return np.concatenate(parts)


def _places(model: Model, captioned: Captioned) -> list[list[int]]:
    objects = [positions_of(model, captioned.caption, item.thing) for item in captioned.scene.objects]
    if len(objects) == 2:
        return objects
    return [*objects, *([position] for word in ("photo", "of", "a") for position in
                        positions_of(model, captioned.caption, word))]  # fmt: skip
