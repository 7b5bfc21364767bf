"""What the toy's CLIP was measured to do: zero-shot answers on fresh renders, straight and through the autoencoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from saes.disk import sha256_of, write_json
from workbench.concepts import TEMPLATES, Concept
from workbench.evaluation.clip import Clip
from workbench.evaluation.encoders import Encoder
from workbench.toy.captions import Example, examples
from workbench.toy.recipe.judging import row, through
from workbench.toy.render import render
from workbench.toy.scenes import Scene, random_scene
from workbench.toy.vocabulary import concepts
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, THINGS

N, UNKNOWN = 1600, 300  # scenes, and scenes of unknown shapes
Truth = Mapping[int, str]  # place of a picture → the right answer


def measure(encoder: Encoder, vae: AutoencoderKL) -> list[dict]:
    """Shares of right answers with Wilson's intervals: the prompt ensemble of the right name is nearest of its kind.

    The scenes are of combinations that no diffusion model of the world was trained on. Colours are asked with a thing.
    Shapes without a name pass as an object where the judge `clip`, not calibrated, finds one.
    """
    found = examples(N, seed=79, split="held_out")
    fresh = torch.from_numpy(np.stack([render(one.scene).image for one in found]))
    kinds = {"fresh renders": fresh, "through the autoencoder": through(vae, fresh, 0.0, torch.Generator())}
    rows = []
    for where, images in kinds.items():
        seen = encoder.pictures(images.numpy())
        for factor, (names, templates, truth) in questions([one.scene for one in found]).items():
            nearest = (seen[list(truth)] @ ensembles(encoder, names, templates).T).argmax(axis=1)
            rows.append(row(where, factor, np.array(names)[nearest] == np.array(list(truth.values()))))
        rows.append(row(where, "colour of 6, the thing named", np.concatenate(colours(encoder, seen, found))))
    return [*rows, row("none of these", "unknown shapes that pass as an object", unknown_that_pass(encoder))]


def questions(scenes: Sequence[Scene]) -> dict[str, tuple[list[str], Sequence[str], Truth]]:
    """Factor → its names, the templates that ask for it, and the right answer of each picture that has one."""
    single = {i: scene for i, scene in enumerate(scenes) if len(scene.objects) == 1}
    plain = {i: scene.objects[0].thing for i, scene in single.items() if not scene.artist}
    styled = {i: scene.objects[0].thing for i, scene in single.items() if scene.artist}
    artists = {i: scene.artist for i, scene in single.items() if scene.artist}
    people = {i: scene.character for i, scene in enumerate(scenes) if scene.character}
    return {
        "thing of 14, plain": (list(THINGS), TEMPLATES["object"], plain),
        "thing of 14, in an artist's style": (list(THINGS), TEMPLATES["object"], styled),
        "artist of 6": (list(ARTISTS), TEMPLATES["style"], artists),
        "character of 8": (list(CHARACTERS), TEMPLATES["character"], people),
    }


def ensembles(encoder: Encoder, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """The normalised mean of each name's prompts, `[names, d]`."""
    means = np.stack([encoder.texts(Concept(name, templates=templates).prompts()).mean(axis=0) for name in names])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def colours(encoder: Encoder, seen: np.ndarray, found: Sequence[Example]) -> list[np.ndarray]:
    """Whether the colour of each single thing is told, thing by thing."""
    hits = []
    for thing in THINGS:
        own = {i: one.scene.objects[0].colour for i, one in enumerate(found) if alone(one.scene) == thing}
        nearest = (seen[list(own)] @ ensembles(encoder, list(COLOURS), (f"a {{}} {thing}",)).T).argmax(axis=1)
        hits.append(np.array(list(COLOURS))[nearest] == np.array(list(own.values())))
    return hits


def alone(scene: Scene) -> str:
    """The only thing in a scene, if there is just one."""
    return scene.objects[0].thing if len(scene.objects) == 1 else ""


def unknown_that_pass(encoder: Encoder) -> np.ndarray:
    """[n] bool: the judge finds some object in a picture of shapes that have no name."""
    rng = np.random.default_rng(83)
    images = np.stack([render(random_scene(rng, known=False)).image for _ in range(UNKNOWN)])
    judge = Clip(encoder).about([one for one in concepts().values() if one.kind == "object"])
    return np.any(judge.score(images).present >= 0, axis=1)


def write(folder: Path, rows: list[dict]) -> None:
    """The figures beside the weights that they were measured on."""
    hashes = {path.name: sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
    write_json(folder / "figures.json", {"measured": rows, "sha256": hashes})
