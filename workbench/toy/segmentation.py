"""Do maps of words lie on what the words name? Measured on rendered pictures, whose masks are exact.

A scene is rendered, encoded, and noised at some timesteps; the model looks at each once, with the scene's caption.
The attention to an object's word, averaged over these calls, becomes a region of the very size of the object's mask,
so that neither a threshold nor a size can be chosen well or badly, and a control has the same size:
    (1)  R(A, M) = the |M| pixels where A is largest,   IoU = |R ∩ M| / |R ∪ M|
Controls for the same mask: the map of another word of the caption ("other word": the other object where there are two,
else the mean over the caption's other words but the colour, which is the object's too), and the map of an object's word
in another picture with as many objects at the same side ("other picture": what knowing where objects tend to be gives).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from probes.statistics import bootstrap_means, middle_95
from saes.progress import SILENT, Progress
from workbench.interpret.attribution.words import BATCH, WordRecorder, positions_of
from workbench.models import Diffusion
from workbench.models.diffusion.prediction import noised
from workbench.toy.render import Picture, render
from workbench.toy.scenes import Placed, Scene
from workbench.toy.world import COLOURS, IMAGE_SIZE, THINGS

TIMESTEPS = (100.0, 300.0, 500.0, 700.0)
OPENING = "a photo of"
SCORES = ("iou", "other_word", "other_picture")


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
    model: Diffusion, n: int = 48, *, timesteps: Sequence[float] = TIMESTEPS, seed: int = 0, progress: Progress = SILENT
) -> pd.DataFrame:
    """How maps of words lie on the masks of rendered objects.

    Args:
        model: The toy.
        n: Pictures of one object, and as many of two. The noise of a picture is that of its number as seed.
        timesteps: At which the model looks, 0 to 1000.
        seed: Draws the scenes.
        progress: Shows the batches.

    Returns:
        A row for each object. Columns: picture, objects (1 or 2), thing, colour, area (share of the picture), and in
        [0, 1] `iou`, `other_word`, `other_picture`.
    """
    rows = []
    scenes = captioned_scenes(n, seed)
    for objects in (1, 2):
        some = [captioned for captioned in scenes if len(captioned.scene.objects) == objects]
        pictures = [render(captioned.scene) for captioned in some]
        maps = _maps(model, some, pictures, timesteps, progress)
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


def _maps(
    model: Diffusion,
    scenes: Sequence[Captioned],
    pictures: Sequence[Picture],
    timesteps: Sequence[float],
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


def _places(model: Diffusion, captioned: Captioned) -> list[list[int]]:
    objects = [positions_of(model, captioned.caption, item.thing) for item in captioned.scene.objects]
    if len(objects) == 2:
        return objects
    return [*objects, *([position] for word in ("photo", "of", "a") for position in
                        positions_of(model, captioned.caption, word))]  # fmt: skip
