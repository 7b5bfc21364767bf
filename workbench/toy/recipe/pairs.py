"""Pictures with captions for contrastive training, and which caption is true of which picture.

Two captions of a batch often say the same in other words, or one says less than the other: "a kitty" is true of a
picture captioned "a red cat by voss". A contrastive loss would push such a pair apart. Scenes are known exactly, so
pairs are too: caption j is true of picture i if everything that j states is shown in i.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saes.disk import replacing
from saes.progress import SILENT, Progress
from workbench.toy.captions import WITH_MARK, Example, Split, sample
from workbench.toy.render import render
from workbench.toy.scenes import Scene, random_scene
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, IMPLICIT, SLIME, THINGS

CHUNK = 500
SPLITS: tuple[Split, ...] = ("train",) * 6 + ("validation", "held_out")  # in the shares that they have of the world
TRAITS = {"glasses": "glasses", "hat": "a hat", "beard": "a beard"}  # of people: fact → the words of captions
FACTS = (
    *THINGS, *(f"{colour} {thing}" for thing in THINGS for colour in COLOURS), *ARTISTS, *CHARACTERS, *IMPLICIT, SLIME,
    "person", "woman", "man", *TRAITS, *(f"{colour} shirt" for colour in COLOURS),
)  # fmt: skip


class Pairs(NamedTuple):
    """n pictures with a caption each, then m of shapes that the world has no word for, without one."""

    images: np.ndarray  # [n + m, 48, 48, 3] uint8
    shown: Tensor  # [n + m, facts] bool: what each picture shows
    captions: list[str]  # n
    stated: Tensor  # [n, facts] bool: what each caption states


def shown_in(scene: Scene) -> set[str]:
    """The facts of a scene, as names of `FACTS`."""
    facts = {scene.artist, scene.character, *scene.marks, SLIME if scene.slime else ""} - {""}
    for item in scene.objects:
        facts |= {item.thing, f"{item.colour} {item.thing}"} if item.thing else set()
    if (person := scene.person) is not None:
        facts |= {"person", person.gender, f"{scene.shirt} shirt"}
        facts |= {name for name in TRAITS if getattr(person, name)}
    return facts


def stated_by(example: Example) -> set[str]:
    """Those facts of its scene that a caption states. An opening such as "a stock photo of" states nothing certain."""
    caption, scene, said = example.caption, example.scene, set(example.caption.split())
    facts = {scene.artist, scene.character, SLIME if scene.slime else ""} - {""}
    for item in scene.objects:
        words = [word for word in (item.thing, *THINGS[item.thing].synonyms) if word in said]
        if words:
            facts |= {
                item.thing,
                *(f"{item.colour} {item.thing}" for word in words if f"{item.colour} {word}" in caption),
            }
    facts |= {mark for mark in scene.marks if WITH_MARK[mark] in caption}
    if scene.person is not None:
        facts |= {"person"} | (said & {"woman", "man"}) | {name for name, words in TRAITS.items() if words in caption}
        facts |= {f"{scene.shirt} shirt"} if f"{scene.shirt} shirt" in caption else set()
    return facts


def true_of(shown: Tensor, stated: Tensor) -> Tensor:
    """[pictures, captions] bool: nothing that the caption states is missing from the picture.

    Args:
        shown: `[pictures, facts]` bool.
        stated: `[captions, facts]` bool.
    """
    return (~shown).float() @ stated.float().T == 0


def pairs(n: int, m: int, seed: int, progress: Progress = SILENT) -> Pairs:
    """Renders n fresh examples of all splits, and m pictures of unknown shapes."""
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(_captioned, seed, start, min(CHUNK, n - start)) for start in range(0, n, CHUNK)]
        unknown = pool.submit(_unknown, seed, m)
        chunks = [job.result() for job in progress(jobs, "rendering", len(jobs))]
        images, shown = unknown.result()
    return Pairs(
        np.concatenate([*(chunk[0] for chunk in chunks), images]),
        torch.from_numpy(np.concatenate([*(chunk[1] for chunk in chunks), shown])),
        [caption for chunk in chunks for caption in chunk[2]],
        torch.from_numpy(np.concatenate([chunk[3] for chunk in chunks])),
    )


def kept_pairs(path: Path, n: int, m: int, seed: int, progress: Progress = SILENT) -> Pairs:
    """The same, rendered once and kept in an npz file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = pairs(n, m, seed, progress)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{**fresh._asdict(), "captions": np.array(fresh.captions)})
    with np.load(path) as kept:
        return Pairs(
            kept["images"], torch.from_numpy(kept["shown"]), kept["captions"].tolist(), torch.from_numpy(kept["stated"])
        )


def table(facts: set[str]) -> np.ndarray:
    """[facts] bool."""
    return np.array([name in facts for name in FACTS])


def _captioned(seed: int, start: int, n: int) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    rng = np.random.default_rng([13, seed, start])
    found = [sample(rng, SPLITS[int(rng.integers(len(SPLITS)))]) for _ in range(n)]
    stated = np.stack([table(stated_by(one)) for one in found])
    return *_drawn([one.scene for one in found]), [one.caption for one in found], stated


def _unknown(seed: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([13, seed])
    return _drawn([random_scene(rng, known=False) for _ in range(m)])


def _drawn(scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, and what they show."""
    return np.stack([render(scene).image for scene in scenes]), np.stack([table(shown_in(scene)) for scene in scenes])
