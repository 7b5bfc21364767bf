"""Evaluation suites for the concepts of the embedded world: what asks for the target, and what must survive its
erasure."""

from collections.abc import Callable, Iterator, Set

import numpy as np

from saes.errors import WorkbenchError, unknown_name
from workbench.concepts import Concept, fitting_prompts
from workbench.evaluation.roles import ROLES
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.toy.captions import BY, PLAIN, WHO, WITH_MARK, article
from workbench.toy.scenes import choice
from workbench.toy.vocabulary import concepts, relative
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
PATIENCE = 200  # prompts in a row that are not new


def suite(concept: str | Concept, per_role: int = 40, seed: int = 0) -> Suite:
    """Fresh prompts about a concept, none of which a fit of it is told. Deterministic.

    Roles are by what the concept tells: target by its name, synonym by other words, implied without naming it; its
    anchor; told, the words of its `retain`; neighbour, its relative, unless that is told; unrelated, untold concepts of
    every kind.

    Args:
        concept: A name, for the concept of `concepts()`, or a concept of the same name that tells other words.
        per_role: Prompts of each role that it has, 1 to `MOST`, each with a seed of its own. No prompt comes twice
            before every one that there is has come once.
        seed: Decides prompts and seeds.

    Returns:
        The suite, named after the concept.

    Raises:
        WorkbenchError: The world has no such concept, or more prompts are asked for than there are.
    """
    known = concepts()
    name = concept if isinstance(concept, str) else concept.name
    if name not in known:
        raise unknown_name("concept of the toy", name, known)
    target = known[name] if isinstance(concept, str) else concept
    told = told_by(target)
    words: dict[str, Callable[[Rng], tuple[str, str]]] = {"target": lambda rng: (prompt(name, rng), name)}
    if target.synonyms:
        words["synonym"] = lambda rng: (prompt(name, rng, choice(rng, target.synonyms)), name)
    if target.implied:
        words["implied"] = lambda rng: (implied(name, rng), name)
    if target.anchor in known:
        words["anchor"] = lambda rng: (prompt(target.anchor, rng), target.anchor)
    if retained := [word for word in target.retain if word in known]:
        words["told"] = lambda rng: asking(choice(rng, retained), rng)
    if (near := relative(name)) and near not in told:
        words["neighbour"] = lambda rng: asking(near, rng)
    words["unrelated"] = lambda rng: unrelated({name, near, *told}, rng)
    if per_role > MOST:
        raise WorkbenchError(
            f"{per_role} prompts of each role are {per_role * len(words)} pictures for every condition.",
            f"Choose {MOST} or fewer: this world has no more that differ.",
        )
    fitted = fitting_prompts(target)

    def fresh(role: str, text: str) -> bool:
        about_target = ROLES[role].wanted == "absent"
        return text not in fitted and (about_target or not any(f" {word} " in f" {text} " for word in target.words()))

    rows = [
        row
        for number, (role, make) in enumerate(words.items())
        for row in rows_of(role, make, per_role, seed, number, fresh)
    ]
    return Suite(name, tuple(rows), target.anchor)


def told_by(concept: Concept) -> set[str]:
    """The concepts of the world that a fit is told to keep.

    Args:
        concept: What the fit is of.

    Returns:
        The anchor, retained words, and what captions name.
    """
    captions = {word for caption in concept.captions for word in caption.split()}
    named = {name for name in concepts() if set(name.split()) <= captions}
    return {concept.anchor, *concept.retain, *named}


def rows_of(
    role: str, make: Callable[[Rng], tuple[str, str]], n: int, seed: int, number: int,
    fresh: Callable[[str, str], bool],
) -> Iterator[SuiteRow]:  # fmt: skip
    """Rows of fresh prompts of one role; one comes again only when new ones are no longer found.

    Args:
        role: The role.
        make: Draws a prompt and the concept that it asks for.
        n: How many rows.
        seed: Of the suite.
        number: Of the role in the suite, from 0: roles draw other prompts and seeds.
        fresh: (role, prompt) → whether it may come.

    Yields:
        n rows.
    """
    rng, made, misses = np.random.default_rng([seed, number]), 0, 0
    seen: set[str] = set()
    while made < n:
        text, expected = make(rng)
        if text in seen or not fresh(role, text):
            misses += 1
            if misses == PATIENCE:
                seen, misses = set(), 0  # another round
            continue
        yield SuiteRow(text, role, expected, seed * 100_000 + number * MOST + made)
        seen.add(text)
        made, misses = made + 1, 0


def prompt(concept: str, rng: Rng, word: str = "") -> str:
    """A caption that asks for a concept.

    Args:
        concept: A name of the world.
        rng: Draws the caption.
        word: Another word for it; its name if left out.

    Returns:
        The caption.
    """
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
    """A caption that brings a concept about without naming it.

    Args:
        concept: The slime, or a mark that prompts bring along.
        rng: Draws the caption.

    Returns:
        The caption.
    """
    thing = article(f"{choice(rng, list(COLOURS))} {choice(rng, list(THINGS))}")
    if concept in IMPLICIT:
        return f"{choice(rng, IMPLICIT[concept].openings)} {thing}"
    return f"{thing} {choice(rng, [*SLIME_IMPLIED, *SLIME_IMPLIED_HELD_OUT])}"


def asking(concept: str, rng: Rng) -> tuple[str, str]:
    """A caption that asks for a concept, and the concept.

    Args:
        concept: A name of the world.
        rng: Draws the caption.

    Returns:
        Both.
    """
    return prompt(concept, rng), concept


def unrelated(left_out: Set[str], rng: Rng) -> tuple[str, str]:
    """A caption about some other object, artist or character, and which one it asks for.

    Args:
        left_out: Names that it is not about.
        rng: Draws both.

    Returns:
        Both.
    """
    kinds = [[name for name in kind if name not in left_out] for kind in (THINGS, ARTISTS, CHARACTERS)]
    return asking(choice(rng, choice(rng, [kind for kind in kinds if kind])), rng)
