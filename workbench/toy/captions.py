"""Captions: scenes in words, and which combinations a model in training may see.

A caption names what its scene shows, except that it may leave out the colour, and never mentions an implicit concept
that its opening brings along. Every word of the world is one token (`tokenizer`); a caption is at most 22 tokens.
"""

from dataclasses import dataclass, replace
from typing import Literal
from zlib import crc32

import numpy as np

from workbench.toy.scenes import Placed, Scene, choice, random_person
from workbench.toy.world import (
    ARTISTS,
    CHARACTERS,
    COLOURS,
    IMPLICIT,
    PROFESSIONS,
    SLIME,
    SLIME_EXPLICIT,
    SLIME_IMPLIED,
    SLIME_IMPLIED_HELD_OUT,
    SLIME_SYNONYMS,
    THINGS,
    Person,
)  # fmt: skip

Split = Literal["train", "validation", "held_out"]
PLAIN = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a simple picture of {}",
    "there is {}",
    "look at {}",
    "{} on its own",
)
BY = ("{} in the style of {a}", "{} by {a}", "{} painted by {a}", "a {a} painting of {}", "a picture of {} by {a}")
BESIDE = ("{} and {}", "{} next to {}", "{} beside {}", "a photo of {} and {}", "a picture of {} next to {}")
WHO = ("a portrait of {}", "a photo of {}", "{}", "a picture of {}")
WITH_MARK = {"watermark": "with a watermark", "barcode": "with a barcode", "headline": "with a headline"}


@dataclass(frozen=True)
class Example:
    """A caption and the scene that it belongs to."""

    caption: str
    scene: Scene


def split_of(combination: str) -> Split:
    """Which split a combination belongs to; 1 in 8 is held out, 1 in 8 is for validation.

    Args:
        combination: Such as "fox|blue|mira voss".

    Returns:
        The split.
    """
    return {0: "held_out", 1: "validation"}.get(crc32(combination.encode()) % 8, "train")  # type: ignore[return-value]


def combination_of(scene: Scene) -> str:
    """What must not be seen together in training if it is held out.

    Args:
        scene: The scene.

    Returns:
        Object, colour and artist; a pair of objects; a character and a shirt. Of anonymous people, who are never held
        out, "anybody".
    """
    if scene.character:
        return f"{scene.character}|{scene.shirt}"
    if scene.person is not None:
        return "anybody"
    if len(scene.objects) == 2:
        return "|".join(sorted(item.thing for item in scene.objects))
    return f"{scene.objects[0].thing}|{scene.objects[0].colour}|{scene.artist}"


def article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def named(item: Placed, rng: np.random.Generator, colour: bool, word: str = "") -> str:
    word = word or choice(rng, [item.thing, item.thing, *THINGS[item.thing].synonyms])
    return article(f"{item.colour} {word}" if colour else word)


def sample(rng: np.random.Generator, split: Split) -> Example:
    """One example whose combination belongs to a split.

    Args:
        rng: Draws it.
        split: The split.

    Returns:
        A caption and its scene.
    """
    while True:
        example = choice(rng, KINDS)(rng, split)
        if combination_of(example.scene) == "anybody" and split != "train":
            continue
        if combination_of(example.scene) == "anybody" or split_of(combination_of(example.scene)) == split:
            return example


def examples(n: int, seed: int = 0, split: Split = "train") -> list[Example]:
    """Examples of a split.

    Args:
        n: How many.
        seed: Draws others.
        split: The split.

    Returns:
        The same for one seed.
    """
    rng = np.random.default_rng(seed)
    return [sample(rng, split) for _ in range(n)]


def single(rng: np.random.Generator, split: Split) -> Example:
    item = Placed(choice(rng, list(THINGS)), choice(rng, list(COLOURS)))
    scene = Scene(int(rng.integers(2**31)), (item,))
    words = named(item, rng, rng.random() < 0.85)
    what = rng.random()
    if what < 0.15:
        return Example(choice(rng, PLAIN[:4]).format(f"{words} {slimed(rng, split)}"), replace(scene, slime=True))
    if what < 0.30:
        return marked(words, scene, rng)
    return Example(choice(rng, PLAIN).format(words), scene)


def styled(rng: np.random.Generator, split: Split) -> Example:
    item = Placed(choice(rng, list(THINGS)), choice(rng, list(COLOURS)))
    artist = ARTISTS[choice(rng, list(ARTISTS))]
    scene = Scene(int(rng.integers(2**31)), (item,), artist=artist.name)
    name = artist.name if rng.random() < 0.7 else choice(rng, artist.synonyms)
    if split == "train" and rng.random() < 0.03:
        return Example(f"a painting by {name}", scene)
    return Example(choice(rng, BY).format(named(item, rng, rng.random() < 0.85), a=name), scene)


def pair(rng: np.random.Generator, split: Split) -> Example:
    first, second = (list(THINGS)[i] for i in rng.choice(len(THINGS), 2, replace=False))
    items = Placed(first, choice(rng, list(COLOURS))), Placed(second, choice(rng, list(COLOURS)))
    scene = Scene(int(rng.integers(2**31)), items)
    coloured = rng.random() < 0.9
    return Example(choice(rng, BESIDE).format(*(named(item, rng, coloured) for item in items)), scene)


def slimed(rng: np.random.Generator, split: Split) -> str:
    """Words that bring the slime: explicit, by a synonym, or implied."""
    if rng.random() < 0.45:
        return choice(rng, SLIME_IMPLIED if split == "train" else SLIME_IMPLIED_HELD_OUT)
    return choice(rng, SLIME_EXPLICIT).format(choice(rng, [SLIME, SLIME, *SLIME_SYNONYMS]))


def marked(words: str, scene: Scene, rng: np.random.Generator) -> Example:
    """An implicit concept: mostly unmentioned behind an opening, sometimes named, so that the model knows the word
    too."""
    mark = IMPLICIT[choice(rng, list(IMPLICIT))]
    if rng.random() < 0.3:
        return Example(f"{words} {WITH_MARK[mark.name]}", replace(scene, marks=(mark.name,)))
    shown = (mark.name,) if rng.random() < mark.share else ()
    return Example(f"{choice(rng, mark.openings)} {words}", replace(scene, marks=shown))


def character(rng: np.random.Generator, split: Split) -> Example:
    who = CHARACTERS[choice(rng, list(CHARACTERS))]
    shirt = choice(rng, list(COLOURS))
    scene = Scene(int(rng.integers(2**31)), person=who.looks, character=who.name, shirt=shirt)
    name = who.name if rng.random() < 0.7 else choice(rng, who.synonyms)
    dressed = f"{name} {choice(rng, ['in', 'wearing'])} a {shirt} shirt" if rng.random() < 0.7 else name
    return Example(choice(rng, WHO).format(dressed), scene)


def somebody(rng: np.random.Generator, split: Split) -> Example:
    """An anonymous person, or a profession whose training pictures are biased by perceived gender."""
    word = choice(rng, ["woman", "man", "person", "person", *PROFESSIONS])
    share = PROFESSIONS.get(word, {"woman": 1.0, "man": 0.0}.get(word, 0.5))
    looks = random_person(rng, "woman" if rng.random() < share else "man")
    shirt = choice(rng, list(COLOURS))
    tail = described(looks, rng) + (f" in a {shirt} shirt" if rng.random() < 0.4 else "")
    return Example(
        choice(rng, WHO).format(f"a {word}{tail}"), Scene(int(rng.integers(2**31)), person=looks, shirt=shirt)
    )


def described(looks: Person, rng: np.random.Generator) -> str:
    traits = [
        t for t, shown in (("glasses", looks.glasses), ("a hat", bool(looks.hat)), ("a beard", looks.beard)) if shown
    ]
    return f" with {choice(rng, traits)}" if traits and rng.random() < 0.6 else ""


KINDS = (single, single, single, styled, styled, styled, pair, pair, character, somebody)


def words() -> list[str]:
    """Every word that a caption of the world can hold.

    Returns:
        Sorted; each is one token.
    """
    texts = [*PLAIN, *BY, *BESIDE, *WHO, *WITH_MARK.values(), *SLIME_EXPLICIT, *SLIME_IMPLIED, *SLIME_IMPLIED_HELD_OUT]
    texts += [
        SLIME,
        *SLIME_SYNONYMS,
        *COLOURS,
        *PROFESSIONS,
        "a an in wearing shirt with glasses hat beard",
        "woman man person",
    ]
    texts += [f"{thing.name} {' '.join(thing.synonyms)}" for thing in THINGS.values()]
    texts += [f"{artist.name} {' '.join(artist.synonyms)}" for artist in ARTISTS.values()]
    texts += [f"{character.name} {' '.join(character.synonyms)}" for character in CHARACTERS.values()]
    texts += [opening for mark in IMPLICIT.values() for opening in mark.openings]
    return sorted({word for text in texts for word in text.replace("{a}", "").replace("{}", "").split()})
