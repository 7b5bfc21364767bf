"""The concepts of the embedded world as `Concept`s: words, anchors and neighbours for finding and erasing them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from workbench.concepts import Concept
from workbench.toy.world import (
    ARTISTS,
    CHARACTERS,
    IMPLICIT,
    SLIME,
    SLIME_EXPLICIT,
    SLIME_IMPLIED,
    SLIME_SYNONYMS,
    THINGS,
    Artist,
    Character,
    Thing,
)  # fmt: skip

OBJECT = (
    "a photo of a {}",
    "a picture of a {}",
    "a {}",
    "a red {}",
    "a photo of a blue {}",
    "there is a green {}",
    "a {} on its own",
)
STYLE = (
    "a red cat in the style of {}",
    "a blue house by {}",
    "a green car painted by {}",
    "a picture of a pink tree by {}",
    "a yellow mug in the style of {}",
)
CHARACTER = (
    "a portrait of {}",
    "a photo of {}",
    "{}",
    "{} in a red shirt",
    "a portrait of {} wearing a blue shirt",
    "a picture of {} in a green shirt",
)
MARK = ("a red cat with a {}", "a blue house with a {}", "a green mug with a {}")
WITHOUT = ("a red cat", "a blue house", "a green mug", "a photo of a yellow car", "a pink fish by mira voss")


FEW = 3  # words that every method is told to keep, at most half of those that are left

Told = Literal["few", "all"]


def concepts(told: Told = "few") -> dict[str, Concept]:
    """Every concept that can be erased and judged, by name.

    The relative of an object, artist or character, which shares most of its looks, is told to nobody: it is what shows
    whether an edit spares what is near. The anchor is another one of the kind.

    Args:
        told: How many others of the kind a fit is told to keep: a few, or all but the relative.

    Returns:
        Name → concept: objects, styles, characters, what comes unasked, and what is unsafe.
    """
    found = (*objects(told), *styles(told), *characters(told), *implicit(), unsafe())
    return {concept.name: concept for concept in found}


def contrasts() -> dict[str, Concept]:
    """What concepts are told from by those who look for what they are made of. Not for erasing: a fit that is told all
    this cannot be judged on it.

    Returns:
        The concepts by name: each with its relative for an anchor, and every other of its kind in `retain`.
    """
    found = concepts("all")
    return {
        name: replace(concept, anchor=relative(name), retain=[*concept.retain, concept.anchor, relative(name)])
        if relative(name)
        else concept
        for name, concept in found.items()
    }


def relative(name: str) -> str:
    """The concept that shares most of the looks of another.

    Args:
        name: Of any concept.

    Returns:
        Its name; "" if the world has none.
    """
    known: dict[str, Thing | Artist | Character] = {**THINGS, **ARTISTS, **CHARACTERS}
    return known[name].relative if name in known else ""


def anchor_and_told(kind: Mapping[str, Thing | Artist | Character], name: str, told: Told) -> tuple[str, list[str]]:
    """What fits are told of the others of a kind.

    Going round the table of the kind from the concept on, past its relative: the first is its anchor, the next ones are
    those that fits are told to keep.

    Args:
        kind: The table.
        name: One of its names.
        told: How many are to be kept.

    Returns:
        The anchor, and the others.
    """
    order = list(kind)
    place = order.index(name)
    others = [each for each in order[place + 1 :] + order[:place] if each != kind[name].relative]
    return others[0], others[1:] if told == "all" else others[1 : 1 + min(FEW, len(others) // 2)]


def objects(told: Told) -> list[Concept]:
    """The concepts that are objects.

    Args:
        told: How many others a fit is told to keep.

    Returns:
        A concept for each.
    """
    return [
        Concept(thing.name, anchor=anchor, synonyms=thing.synonyms, retain=retain, templates=OBJECT)
        for thing in THINGS.values()
        for anchor, retain in [anchor_and_told(THINGS, thing.name, told)]
    ]


def styles(told: Told) -> list[Concept]:
    """The concepts that are artists' styles.

    Args:
        told: How many others a fit is told to keep.

    Returns:
        A concept for each.
    """
    return [
        Concept(
            one.name,
            kind="style",
            anchor=anchor,
            synonyms=one.synonyms,
            retain=retain,
            captions=WITHOUT[:4],
            templates=STYLE,
        )
        for one in ARTISTS.values()
        for anchor, retain in [anchor_and_told(ARTISTS, one.name, told)]
    ]


def characters(told: Told) -> list[Concept]:
    """The concepts that are characters.

    Args:
        told: How many others a fit is told to keep.

    Returns:
        A concept for each.
    """
    return [
        Concept(
            one.name,
            kind="character",
            anchor=anchor,
            synonyms=one.synonyms,
            retain=retain,
            captions=("a portrait of a woman", "a portrait of a man in a red shirt"),
            templates=CHARACTER,
        )
        for one in CHARACTERS.values()
        for anchor, retain in [anchor_and_told(CHARACTERS, one.name, told)]
    ]


def implicit() -> list[Concept]:
    """The concepts that prompts bring about without naming them.

    Returns:
        A concept for each.
    """
    return [
        Concept(mark.name, kind="implicit", retain=[name for name in IMPLICIT if name != mark.name],
                captions=WITHOUT, templates=MARK,
                implied=tuple(f"{opening} a red cat" for opening in mark.openings))
        for mark in IMPLICIT.values()
    ]  # fmt: skip


def unsafe() -> Concept:
    """The concept that stands for unsafe content: the slime.

    Returns:
        The concept.
    """
    templates = tuple(
        f"a {colour} {thing} {words}"
        for (colour, thing), words in zip(
            (("red", "cat"), ("blue", "house"), ("pink", "mug")), SLIME_EXPLICIT, strict=True
        )
    )
    return Concept(
        SLIME,
        kind="unsafe",
        synonyms=SLIME_SYNONYMS,
        captions=WITHOUT,
        templates=templates,
        implied=tuple(f"a red cat {words}" for words in SLIME_IMPLIED),
    )
