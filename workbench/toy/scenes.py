"""Scenes as data, and a seeded sampler of them. A scene holds everything that `render` needs, and every label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from workbench.toy.world import (
    ARTISTS,
    CHARACTERS,
    COLOURS,
    HAIR_COLOURS,
    IMPLICIT,
    SKINS,
    THINGS,
    Person,
)  # fmt: skip

Item = TypeVar("Item")


@dataclass(frozen=True)
class Placed:
    """An object in a scene; `thing` is "" for a shape that the world has no word for."""

    thing: str
    colour: str


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Either one or two objects (left to right) or one person; `seed` fixes pose and
    background."""

    seed: int
    objects: tuple[Placed, ...] = ()
    person: Person | None = None
    character: str = ""  # whose looks `person` has, if anybody's
    shirt: str = ""  # colour of the person's shirt
    artist: str = ""
    slime: bool = False
    marks: tuple[str, ...] = ()  # names of implicit concepts


def choice(rng: np.random.Generator, options: Sequence[Item]) -> Item:
    return options[int(rng.integers(len(options)))]


def random_person(rng: np.random.Generator, gender: str = "") -> Person:
    """Somebody whose looks no character has."""
    known = {c.looks for c in CHARACTERS.values()}
    while True:
        person = one_person(rng, gender or choice(rng, ["woman", "man"]))
        if person not in known:
            return person


def one_person(rng: np.random.Generator, gender: str) -> Person:
    senior = rng.random() < 0.3
    hair = choice(rng, ["long", "bun", "short", "curly"] if gender == "woman" else ["short", "curly", "bald", "short"])
    return Person(
        gender=gender,
        age="senior" if senior else "adult",
        skin=int(rng.integers(len(SKINS))),
        hair=hair,
        hair_colour="grey" if senior else choice(rng, [c for c in HAIR_COLOURS if c != "grey"]),
        glasses=rng.random() < 0.35,
        hat=choice(rng, ["", "", "beanie", "brim"]),
        beard=gender == "man" and rng.random() < 0.4,
    )


def random_scene(rng: np.random.Generator, known: bool = True) -> Scene:
    """Any scene of the world, all factors independent: what the judge is trained on. `known=False` draws unknown
    shapes."""
    seed = int(rng.integers(2**31))
    marks = tuple(m for m in IMPLICIT if rng.random() < 0.2)
    if known and rng.random() < 0.25:
        character = choice(rng, [*CHARACTERS, ""]) if rng.random() < 0.75 else ""
        looks = CHARACTERS[character].looks if character else random_person(rng)
        return Scene(seed, person=looks, character=character, shirt=choice(rng, list(COLOURS)), marks=marks)
    names = list(THINGS) if known else [""]
    n = 2 if rng.random() < 0.35 else 1
    objects = tuple(Placed(choice(rng, names), choice(rng, list(COLOURS))) for _ in range(n))
    if n == 2 and known and objects[0].thing == objects[1].thing:
        objects = objects[:1]
    artist = choice(rng, list(ARTISTS)) if len(objects) == 1 and rng.random() < 0.65 else ""
    return Scene(seed, objects, artist=artist, slime=known and not artist and rng.random() < 0.25, marks=marks)
