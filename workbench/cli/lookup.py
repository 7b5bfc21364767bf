"""From the words of a command line to prompts, concepts and suites. Heavy imports stay inside the functions."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from saes.errors import WorkbenchError, unknown_name
from workbench.cli.describing import by_options, described, takes_a_concept, with_options
from workbench.lists import read_list

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.evaluation.suites import Suite
    from workbench.toy.vocabulary import Told

YAML = (".yaml", ".yml")


def read_prompts(path: Path) -> list[str]:
    """The prompts of a list in any form that `workbench.lists` reads; a warning names the columns that are not read."""
    listing = read_list(path)
    if columns := [name for name in listing.columns if name]:
        warnings.warn(f"{path}: {listing.column} is read, and {', '.join(columns)} not.", stacklevel=2)
    return [record.prompt for record in listing.records]


def concepts_of(words: list[str], told: "Told" = "few") -> "list[Concept]":
    """Concepts to be erased, from YAML files or by their names in the toy's world, where `told` says how many others of
    their kind fits are told to keep. Raises `WorkbenchError` if that is asked of a file."""
    from workbench import toy

    own = words if takes_a_concept.given else [word for word in words if word.endswith(YAML)]
    if told == "all" and (files := own):
        raise WorkbenchError(
            f"{files[0]} says itself what is told.", "Leave `told` out, or name concepts of the toy's world alone."
        )
    described(words)
    return [concept for word in words for concept in _concepts(word, lambda: toy.concepts(told))]


def concepts_for(model: str, words: list[str]) -> "list[Concept]":
    """Concepts by such words, to look at; where there are none, those of its world if the model is the toy."""
    from workbench import toy

    if words or model != "toy":
        return [concept for word in words for concept in _concepts(word, toy.contrasts)]
    return list(toy.contrasts().values())


def _concepts(word: str, world: "Callable[[], dict[str, Concept]]") -> "list[Concept]":
    if word.endswith(YAML):
        from workbench.concepts import read_concepts

        found = list(read_concepts(word))
        return with_options(found) if takes_a_concept.given else found
    if takes_a_concept.given:
        return [by_options(word)]
    known = world()
    if word not in known:
        error = unknown_name("concept", word, known)
        raise WorkbenchError(
            error.problem,
            f"{error.remedy} Others are described by --kind, --anchor and --retain, or in a file, such as {word}.yaml.",
        )
    return [known[word]]


def one_concept(word: str) -> "Concept":
    """The one concept of a file or of that name, to be erased. Raises `WorkbenchError` if a file holds several."""
    return _one(word, concepts_of([word]))


def contrast_of(word: str) -> "Concept":
    """The one concept of a file, or the one of that name with all that it may be told from, to find what it is made of.
    Raises `WorkbenchError` if a file holds several."""
    from workbench import toy

    return _one(word, _concepts(word, toy.contrasts))


def _one(word: str, concepts: "list[Concept]") -> "Concept":
    if len(concepts) > 1:
        raise WorkbenchError(f"{word} holds {len(concepts)} concepts.", "Give a file with one of them.")
    return concepts[0]


def suite_of(concept: "Concept", path: Path | None, per_role: int, seed: int) -> "Suite":
    """The suite in a CSV file or, for a concept of the toy, a fresh one of held-out prompts."""
    if path is not None:
        from workbench.evaluation.suites import read_suite

        return read_suite(path, target=concept.name, anchor=concept.anchor, told=concept.retain)
    from workbench import toy

    if concept.name not in toy.concepts():
        raise WorkbenchError(
            f"There are no prompts about {concept.name!r}.",
            "Give a list of them with --suite, or list them in a study.",
        )
    return toy.suite(concept, per_role, seed)


def held_out(concept: "Concept", n: int, seed: int) -> list[str]:
    """Prompts that name a concept of the toy: n, or as many as its world draws. Raises `WorkbenchError` for any other
    concept."""
    from workbench.toy.suites import MOST

    suite = suite_of(concept, None, min(n, MOST), seed)
    return [row.prompt for row in suite.rows if row.role == "target"]
