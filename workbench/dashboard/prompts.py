"""The prompts that features are shown on: those of the run, and each concept in its templates."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from workbench.concepts import Concept
from workbench.evaluation.runs import Run
from workbench.words import pattern


class Shown(NamedTuple):
    """A prompt with the seed of its picture. `expected` is the concept that it asks for, if that is known."""

    prompt: str
    seed: int
    expected: str


def shown_prompts(run: Run, concepts: Sequence[Concept]) -> tuple[Shown, ...]:
    """The prompts that features are shown on, each once.

    Args:
        run: Its own prompts come first, with their own seeds; not those of attacks, which may be no text.
        concepts: Their templates follow, with seeds that number on.

    Returns:
        Prompts with seeds, in an order whose beginning shows each concept equally often.
    """
    found: dict[str, Shown] = {}
    roles = run.spec.roles_by_name
    for trial in run.spec.trials:
        for row in (row for row in trial.rows if not roles[row.role].adversarial):
            found.setdefault(row.prompt, Shown(row.prompt, row.seed, row.expected))
    for concept in concepts:
        for prompt in concept.prompts():
            found.setdefault(prompt, Shown(prompt, len(found), concept.name))
    return spread(found.values())


def spread(prompts: Iterable[Shown]) -> tuple[Shown, ...]:
    """Prompts in turn of what they expect, so that the first n of them are about everything.

    Args:
        prompts: Any.

    Returns:
        The same; those of one concept stay in their order.
    """
    turns: Counter[str] = Counter()
    turn = {}
    for shown in prompts:
        turn[shown] = turns[shown.expected]
        turns[shown.expected] += 1
    return tuple(sorted(turn, key=turn.__getitem__))


def concepts_shown(run: Run, known: Sequence[Concept] = ()) -> tuple[Concept, ...]:
    """The concepts that are known, and as plain words those that only the run names.

    Args:
        run: The run.
        known: Concepts.

    Returns:
        All of them, the known ones first.
    """
    names = {concept.name for concept in known}
    in_run = dict.fromkeys(name for trial in run.spec.trials for name in (trial.concept, *_expected(trial.rows)))
    return (*known, *(Concept(name) for name in in_run if name and name not in names))


def _expected(rows: Sequence) -> list[str]:
    return [row.expected for row in rows]


def names_concept(prompts: Sequence[Shown], concept: Concept) -> tuple[list[int], list[int]]:
    """Which prompts name a concept, and which are about something else.

    A prompt that asks for the concept without naming it is in neither.

    Args:
        prompts: Any.
        concept: Its name and its synonyms count, as whole words in any case.

    Returns:
        The places of the prompts that name it, and of the others.
    """
    named = re.compile("|".join(map(pattern, concept.words())), re.IGNORECASE)
    inside = [place for place, shown in enumerate(prompts) if named.search(shown.prompt)]
    taken = set(inside)
    outside = [place for place, shown in enumerate(prompts) if place not in taken and shown.expected != concept.name]
    return inside, outside
