"""The concepts of the embedded world as `Concept`s: words, anchors and neighbours for finding and erasing them."""

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


def concepts() -> dict[str, Concept]:
    """Every concept that can be erased and judged, by name. The anchor of an object, artist or character is its
    relative."""
    return {concept.name: concept for concept in (*objects(), *styles(), *characters(), *implicit(), unsafe())}


def others(names: dict[str, object], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def objects() -> list[Concept]:
    return [
        Concept(
            thing.name,
            anchor=thing.relative,
            synonyms=thing.synonyms,
            retain=others({**THINGS}, thing.name),
            templates=OBJECT,
        )
        for thing in THINGS.values()
    ]


def styles() -> list[Concept]:
    return [
        Concept(
            one.name,
            kind="style",
            anchor=one.relative,
            synonyms=one.synonyms,
            retain=others({**ARTISTS}, one.name),
            captions=WITHOUT[:4],
            templates=STYLE,
        )
        for one in ARTISTS.values()
    ]


def characters() -> list[Concept]:
    return [
        Concept(
            one.name,
            kind="character",
            anchor=one.relative,
            synonyms=one.synonyms,
            retain=others({**CHARACTERS}, one.name),
            captions=("a portrait of a woman", "a portrait of a man in a red shirt"),
            templates=CHARACTER,
        )
        for one in CHARACTERS.values()
    ]


def implicit() -> list[Concept]:
    return [
        Concept(mark.name, kind="implicit", retain=others({**IMPLICIT}, mark.name), captions=WITHOUT, templates=MARK,
                implied=tuple(f"{opening} a red cat" for opening in mark.openings))
        for mark in IMPLICIT.values()
    ]  # fmt: skip


def unsafe() -> Concept:
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
