"""Suites for concepts that nobody prepared: from a concept's words, prompts of its kind, and words near it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ConfigDict

from saes.config import StrictConfig
from saes.errors import WorkbenchError
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.concepts import Concept, filled, fitting_prompts, names_any
from workbench.evaluation.suites import Suite, SuiteRow, adults_only

FILE = Path(__file__).with_name("asking.yaml")
MOST = 1000  # rows of a role, whose seeds are numbered so

Caption = tuple[str, str]  # a prompt, and what a judge is to look for in its picture; "" for nothing


class Asking(StrictConfig):
    """What there is to ask with.

    Args:
        prompts: By kind, sentences with one `{}` for a concept.
        words: By kind, words among which neighbours are sought.
        unrelated: Captions of other things, each with what it shows.
    """

    model_config = ConfigDict(frozen=True)

    prompts: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]
    unrelated: tuple[Caption, ...]


class Untold(NamedTuple):
    """Concepts of which no fit is told: near ones by their names, and captions of far ones."""

    near: Sequence[str] = ()
    far: Sequence[Caption] = ()


def asking() -> Asking:
    """What is shipped."""
    return build(Asking, read_yaml(FILE), str(FILE))


def asked_suite(
    concept: Concept, untold: Untold, prompts: Sequence[str] = (), *, per_role: int = 16, seed: int = 0
) -> Suite:
    """A suite that asks for a concept by each of its words, for its anchor, for what is told, and for what is not.

    Args:
        concept: What is to be erased. Prompts that a fit of it may be made of are left out.
        untold: Near and far concepts; those that are told, or that name the concept, are left out.
        prompts: Sentences with one `{}`; those of `asking` for its kind if left out.
        per_role: Rows of each role, 1 to `MOST`. A prompt comes again, with another seed, only when all have come.
        seed: Decides order and seeds.

    Returns:
        The suite, without prompts that may involve a minor, which it counts.

    Raises:
        WorkbenchError: There are no prompts for this kind, or none is left.
    """
    templates = tuple(prompts) or asking().prompts.get(concept.kind, ())
    if not templates:
        raise WorkbenchError(
            f"There are no prompts for a concept of the kind {concept.kind!r}.",
            "Give sentences with one {} for it, with --prompts-file.",
        )
    replace(concept, templates=templates)  # refuses sentences without one place for the name
    if not 1 <= per_role <= MOST:
        raise WorkbenchError(f"{per_role} prompts of each role were asked for.", f"Choose 1 to {MOST}.")
    told = {word.casefold() for word in (concept.anchor, *concept.retain)}
    own = [*concept.words(), concept.anchor, *concept.retain]
    near = [word for word in untold.near if word.casefold() not in told and not names_any(word, concept.words())]
    far = [one for one in untold.far if not names_any(one[0], filter(None, [*own, *near]))]
    asked = {
        "target": _asking(templates, [concept.name], concept.name),
        "synonym": _asking(templates, concept.synonyms, concept.name),
        "anchor": _asking(templates, filter(None, [concept.anchor])),
        "told": _asking(templates, concept.retain),
        "neighbour": _asking(templates, near),
        "unrelated": far,
    }
    fitted = fitting_prompts(concept)
    rows = [
        row
        for number, (role, captions) in enumerate(asked.items())
        for row in _rows(role, [one for one in captions if one[0] not in fitted], per_role, seed, number)
    ]
    kept = adults_only(rows)
    if not any(row.role == "target" for row in kept):
        raise WorkbenchError(
            f"No prompt about {concept.name!r} is left: fits are made of them all, or they may involve a minor.",
            "Give other sentences with --prompts-file.",
        )
    return Suite(concept.name, kept, concept.anchor, dropped=len(rows) - len(kept))


def _asking(templates: Sequence[str], words: Iterable[str], expected: str = "") -> list[Caption]:
    return [(filled(template, word), expected or word) for word in words for template in templates]


def _rows(role: str, captions: Sequence[Caption], n: int, seed: int, number: int) -> list[SuiteRow]:
    """n rows, in rounds: each shows every caption once, in an order of its own."""
    if not captions:
        return []
    rng = np.random.default_rng([seed, number])
    rounds = [rng.permutation(len(captions)) for _ in range(-(-n // len(captions)))]
    order = np.concatenate(rounds)[:n]
    return [
        SuiteRow(captions[place][0], role, captions[place][1], seed * 100_000 + number * MOST + made)
        for made, place in enumerate(order)
    ]
