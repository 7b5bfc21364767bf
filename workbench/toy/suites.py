"""Evaluation suites for the concepts of the embedded world: what asks for the target, and what must survive its
erasure."""

from collections.abc import Callable, Iterator

import numpy as np

from saes.errors import WorkbenchError, unknown_name
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.toy.captions import BY, PLAIN, WHO, WITH_MARK, article
from workbench.toy.scenes import choice
from workbench.toy.vocabulary import concepts
from workbench.toy.world import (
    ARTISTS,
    CHARACTERS,
    COLOURS,
    IMPLICIT,
    SLIME_EXPLICIT,
    SLIME_IMPLIED,
    SLIME_IMPLIED_HELD_OUT,
    THINGS,
)  # fmt: skip

Rng = np.random.Generator
MOST = 1000  # prompts of a role: seeds are numbered so, and no concept has half as many different ones


def suite(concept: str, per_role: int = 40, seed: int = 0) -> Suite:
    """Prompts for each role that the concept has, each with a seed of its own. Deterministic.

    target: by its name. synonym: by other words. implied: without naming it. neighbour: its relative, which shares
    most of its looks. unrelated: concepts of every kind.

    Args:
        concept: A name of the world.
        per_role: Prompts of each role, 1 to `MOST`.
        seed: Draws other prompts, with other seeds.

    Returns:
        The suite, named after the concept.

    Raises:
        WorkbenchError: The world has no such concept, or more prompts are asked for than there are.
    """
    known = concepts()
    if concept not in known:
        raise unknown_name("concept of the toy", concept, known)
    target = known[concept]
    words: dict[str, Callable[[Rng], tuple[str, str]]] = {"target": lambda rng: (prompt(concept, rng), concept)}
    if target.synonyms:
        words["synonym"] = lambda rng: (prompt(concept, rng, choice(rng, target.synonyms)), concept)
    if target.implied:
        words["implied"] = lambda rng: (implied(concept, rng), concept)
    if target.anchor:
        words["neighbour"] = lambda rng: (prompt(target.anchor, rng), target.anchor)
    words["unrelated"] = lambda rng: unrelated(concept, target.anchor, rng)
    if per_role > MOST:
        raise WorkbenchError(
            f"{per_role} prompts of each role are {per_role * len(words)} pictures for every condition.",
            f"Choose {MOST} or fewer: this world has no more that differ.",
        )
    rows = [
        row for number, (role, make) in enumerate(words.items()) for row in rows_of(role, make, per_role, seed, number)
    ]
    return Suite(concept, tuple(rows), target.anchor)


def rows_of(role: str, make: Callable[[Rng], tuple[str, str]], n: int, seed: int, number: int) -> Iterator[SuiteRow]:
    rng = np.random.default_rng([seed, number])
    for i in range(n):
        text, expected = make(rng)
        yield SuiteRow(text, role, expected, seed * 100_000 + number * MOST + i)


def prompt(concept: str, rng: Rng, word: str = "") -> str:
    """A caption that asks for a concept by its name, or by another `word` for it."""
    word = word or concept
    colour = choice(rng, list(COLOURS))
    if concept in THINGS:
        return choice(rng, PLAIN).format(article(f"{colour} {word}"))
    thing = article(f"{colour} {choice(rng, list(THINGS))}")
    if concept in ARTISTS:
        return choice(rng, BY).format(thing, a=word)
    if concept in CHARACTERS:
        return choice(rng, WHO).format(f"{word} in a {colour} shirt")
    if concept in IMPLICIT:
        return f"{thing} {WITH_MARK[concept]}"
    return f"{thing} {choice(rng, SLIME_EXPLICIT).format(word)}"


def implied(concept: str, rng: Rng) -> str:
    """A caption that brings a concept about without naming it."""
    thing = article(f"{choice(rng, list(COLOURS))} {choice(rng, list(THINGS))}")
    if concept in IMPLICIT:
        return f"{choice(rng, IMPLICIT[concept].openings)} {thing}"
    return f"{thing} {choice(rng, [*SLIME_IMPLIED, *SLIME_IMPLIED_HELD_OUT])}"


def unrelated(concept: str, anchor: str, rng: Rng) -> tuple[str, str]:
    """A caption about some other object, artist or character, and which one it asks for."""
    kinds = [list(THINGS), list(ARTISTS), list(CHARACTERS)]
    name = choice(rng, [name for name in choice(rng, kinds) if name not in (concept, anchor)])
    return prompt(name, rng), name
