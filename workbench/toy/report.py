"""What the embedded models can do, by the oracle, on prompts whose combinations it never saw."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from probes.statistics import wilson
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.models import Model, load
from workbench.models.loading import TOYS
from workbench.toy.captions import BESIDE, BY, PLAIN, WHO, Split, combination_of, named, split_of
from workbench.toy.oracle import KINDS, LOCAL, Judged, Oracle
from workbench.toy.scenes import Placed, Scene, choice
from workbench.toy.world import (
    ARTISTS,
    CHARACTERS,
    COLOURS,
    IMPLICIT,
    SLIME,
    SLIME_IMPLIED,
    SLIME_IMPLIED_HELD_OUT,
    THINGS,
)  # fmt: skip

FLOORS = {"object": 0.95, "colour": 0.92, "style": 0.95, "character": 0.90, "both objects": 0.80, "implied slime": 0.60}
JANUS_FLOORS = {
    "object": 0.90, "colour": 0.88, "style": 0.90, "character": 0.85, "both objects": 0.65, "implied slime": 0.60,
}  # fmt: skip
FLOORS_OF = {"sd1": FLOORS, "janus": JANUS_FLOORS}  # by the kind of the model


@runtime_checkable
class Draws(Protocol):
    """What draws pictures of prompts: a model, or the sampler of a recipe."""

    def generate(self, prompts: Any, seeds: Any, *, progress: Progress) -> np.ndarray:
        """Draws a picture for each prompt.

        Args:
            prompts: Texts.
            seeds: Whole numbers, one for each.
            progress: Shows the pictures.

        Returns:
            uint8 `[prompts, height, width, 3]`.
        """


class Asked(NamedTuple):
    """A prompt with the scene that would satisfy it, and the group that it is counted in."""

    group: str
    prompt: str
    scene: Scene


def held_out(
    make: Callable[[np.random.Generator], Asked], n: int, rng: np.random.Generator, split: Split = "held_out"
) -> list[Asked]:
    """n prompts whose combination belongs to the split."""
    asked: list[Asked] = []
    while len(asked) < n:
        one = make(rng)
        if split_of(combination_of(one.scene)) == split:
            asked.append(one)
    return asked


def item(rng: np.random.Generator) -> Placed:
    return Placed(choice(rng, list(THINGS)), choice(rng, list(COLOURS)))


def plain(rng: np.random.Generator) -> Asked:
    thing = item(rng)
    return Asked("plain", choice(rng, PLAIN).format(named(thing, rng, True, thing.thing)), Scene(0, (thing,)))


def synonym(rng: np.random.Generator) -> Asked:
    thing = item(rng)
    words = named(thing, rng, True, choice(rng, THINGS[thing.thing].synonyms))
    return Asked("synonym", choice(rng, PLAIN).format(words), Scene(0, (thing,)))


def styled(rng: np.random.Generator) -> Asked:
    thing, artist = item(rng), choice(rng, list(ARTISTS))
    text = choice(rng, BY).format(named(thing, rng, True, thing.thing), a=artist)
    return Asked("styled", text, Scene(0, (thing,), artist=artist))


def pair(rng: np.random.Generator) -> Asked:
    things = [Placed(str(name), choice(rng, list(COLOURS))) for name in rng.choice(list(THINGS), 2, replace=False)]
    text = choice(rng, BESIDE).format(*(named(thing, rng, True, thing.thing) for thing in things))
    return Asked("pair", text, Scene(0, tuple(things)))


def character(rng: np.random.Generator) -> Asked:
    who, shirt = CHARACTERS[choice(rng, list(CHARACTERS))], choice(rng, list(COLOURS))
    text = choice(rng, WHO).format(f"{who.name} in a {shirt} shirt")
    return Asked("character", text, Scene(0, person=who.looks, character=who.name, shirt=shirt))


def slimed(rng: np.random.Generator, wordings: Sequence[str], group: str) -> Asked:
    thing = item(rng)
    return Asked(
        group, f"{named(thing, rng, True, thing.thing)} {choice(rng, wordings)}", Scene(0, (thing,), slime=True)
    )


def opened(rng: np.random.Generator) -> Asked:
    thing, mark = item(rng), IMPLICIT[choice(rng, list(IMPLICIT))]
    text = f"{choice(rng, mark.openings)} {named(thing, rng, True, thing.thing)}"
    return Asked("opening", text, Scene(0, (thing,), marks=(mark.name,)))


def questions(n: int, seed: int = 0) -> list[Asked]:
    """The prompts of the report: about 6 n, of which 4.4 n ask for combinations that no training picture shows."""
    rng = np.random.default_rng([23, seed])
    asked = [
        one
        for make, share in ((plain, 1), (styled, 1.4), (pair, 1), (character, 1))
        for one in held_out(make, int(share * n), rng)
    ]
    asked += held_out(synonym, n // 2, rng)
    asked += [slimed(rng, SLIME_IMPLIED, "implied slime") for _ in range(n // 3)]
    asked += [slimed(rng, SLIME_IMPLIED_HELD_OUT, "implied slime, new wording") for _ in range(n // 3)]
    return asked + [opened(rng) for _ in range(n // 2)]


def coloured_things(scene: Scene) -> list[tuple[str, str]]:
    """What must have which colour: the objects, and a person's shirt."""
    shirt = [("person", scene.shirt)] if scene.shirt else []
    return [(placed.thing, placed.colour) for placed in scene.objects] + shirt


class Hits(NamedTuple):
    """For each prompt, whether its picture shows what it should; False too where it does not ask for it."""

    object: np.ndarray
    colour: np.ndarray
    style: np.ndarray
    character: np.ndarray
    both: np.ndarray
    slime: np.ndarray
    mark: np.ndarray


def check(asked: Sequence[Asked], judged: Judged, threshold: float) -> Hits:
    """Compares each picture with its scene."""
    names = list(KINDS)
    present = judged.present >= threshold

    def shows(row: int, name: str) -> bool:
        return bool(present[row, names.index(name)])

    def coloured(row: int, thing: str, colour: str) -> bool:
        return list(COLOURS)[judged.colour[row, LOCAL.index(thing)].argmax()] == colour

    rows = [
        (
            bool(scene.objects) and shows(i, scene.objects[0].thing),
            all(coloured(i, *wanted) for wanted in coloured_things(scene)),
            bool(scene.artist) and shows(i, scene.artist),
            bool(scene.character) and shows(i, scene.character),
            len(scene.objects) == 2 and all(shows(i, o.thing) for o in scene.objects),
            scene.slime and shows(i, SLIME),
            any(shows(i, mark) for mark in scene.marks),
        )
        for i, (_, _, scene) in enumerate(asked)
    ]  # fmt: skip
    return Hits(*np.array(rows).T)


def figures(
    model: Draws, oracle: Oracle, n: int = 150, seed: int = 0, progress: Progress = SILENT,
    floors: Mapping[str, float] = FLOORS,
) -> tuple[list[dict], np.ndarray]:  # fmt: skip
    """Rows with factor, value, low, high (95 %, Wilson), n and floor; and the pictures, in the order of `questions`."""
    asked = questions(n, seed)
    images = model.generate([one.prompt for one in asked], seeds=range(len(asked)), progress=progress)
    judged = oracle.judge(images)
    hits = check(asked, judged, oracle.threshold)
    group = np.array([one.group for one in asked])
    single = np.isin(group, ["plain", "styled"])
    table = {
        "object": hits.object[single],
        "colour": hits.colour[single],
        "style": hits.style[group == "styled"],
        "character": hits.character[group == "character"],
        "shirt colour": hits.colour[group == "character"],
        "both objects": hits.both[group == "pair"],
        "both objects and colours": (hits.both & hits.colour)[group == "pair"],
        "object, canonical word": hits.object[group == "plain"],
        "object, synonym": hits.object[group == "synonym"],
        "implicit concept, unprompted": hits.mark[group == "opening"],
        "implied slime": hits.slime[group == "implied slime"],
        "implied slime, new wording": hits.slime[group == "implied slime, new wording"],
    }
    false_alarms = present_without_being_asked(asked, judged, oracle.threshold)
    return [row(name, hit, floors.get(name)) for name, hit in (table | false_alarms).items()], images


def present_without_being_asked(asked: Sequence[Asked], judged: Judged, threshold: float) -> dict[str, np.ndarray]:
    """How often slime and implicit concepts show up where nothing calls for them: the controls of their rates above."""
    present = np.asarray(judged.present >= threshold)
    names = list(KINDS)
    neither = np.array([one.group in ("plain", "pair", "character") for one in asked])
    marks = np.any(present[:, [names.index(mark) for mark in IMPLICIT]], axis=1)
    return {"control: implicit concept": marks[neither], "control: slime": present[neither, names.index(SLIME)]}


def row(name: str, hits: np.ndarray, floor: float | None) -> dict:
    low, high = wilson(int(hits.sum()), len(hits))
    return {
        "factor": name,
        "value": float(hits.mean()),
        "low": low,
        "high": high,
        "n": len(hits),
        "floor": floor,
    }


def report(model: str = "toy", n: int = 150, progress: Progress = SILENT, sheet: Path | None = None) -> list[dict]:
    """The figures of a model folder, made now.

    Args:
        model: "toy", "toy-janus", or a folder that `workbench toy train` left.
        n: Pictures of each question.
        progress: Shows the pictures.
        sheet: Where to write a contact sheet of the first pictures of each group; none if left out.

    Returns:
        A row for each figure, with the floor of its kind of model.
    """
    handle, oracle = subject(model)
    rows, images = figures(handle, oracle, n, progress=progress, floors=FLOORS_OF[handle.kind])
    if sheet is not None:
        contact_sheet(images, [one.group for one in questions(n)], sheet)
    return rows


def subject(model: str) -> tuple[Model, Oracle]:
    """A toy by its name, or the model of a folder that `workbench toy train` left, with the judge that lies beside it.

    Raises `WorkbenchError` for a model of a kind that has no floors.
    """
    handle = load(model)
    if handle.kind not in FLOORS_OF:
        raise WorkbenchError(
            f"{model} is no model of the toy's world.", "Give toy, toy-janus, or what `toy train` left."
        )
    return handle, Oracle.load("" if model in TOYS else Path(model).parent / "oracle")


def contact_sheet(images: np.ndarray, groups: Sequence[str], path: Path, columns: int = 16) -> None:
    """A PNG with a row of pictures for each group, as many in each."""
    from PIL import Image

    from saes.disk import replacing

    columns = min(columns, *Counter(groups).values())
    rows = [
        np.concatenate([images[i] for i, g in enumerate(groups) if g == group][:columns], axis=1)
        for group in dict.fromkeys(groups)
    ]
    with replacing(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="png")
