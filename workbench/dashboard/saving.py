"""Keeping what was done on the bench: as an edit, or as a study that puts it to the test. Both lie beside the run."""

import re
from pathlib import Path
from typing import Any

import yaml

from saes.disk import replacing
from saes.errors import WorkbenchError
from saes.settings import build
from workbench.dashboard.bench import Outcome
from workbench.dashboard.cache import FOLDER
from workbench.dashboard.changes import ALWAYS, Change, words_of
from workbench.dashboard.library import Library
from workbench.words import occurrences

EDITS, STUDIES = "edits", "studies"
_NAME = re.compile(r"\w[\w.-]{0,79}")
DRAWN = 20  # held-out prompts of a study of the toy, whose world can draw them
LEAST = 2  # prompts that a study needs


def save_edit(library: Library, outcome: Outcome, name: str | None) -> Path:
    """Saves an edit in the folder `dashboard/edits` of the run.

    Args:
        library: Has the run.
        outcome: What was seen.
        name: One that is free.

    Returns:
        The edit's folder.

    Raises:
        WorkbenchError: The name is taken, or none for a file.
    """
    path = library.run.dir / FOLDER / EDITS / _checked(name)
    outcome.edit.save(path)
    return path


def save_study(library: Library, outcome: Outcome, name: str | None, concept: str | None) -> Path:
    """Writes a study of the changes into `dashboard/studies` of the run.

    Args:
        library: Has the run.
        outcome: What was seen.
        name: One that is free.
        concept: What the features should carry.

    Returns:
        The file.

    Raises:
        WorkbenchError: The name is taken or none for a file, or no study can be of the changes.
    """
    path = library.run.dir / FOLDER / STUDIES / f"{_checked(name)}.yaml"
    if path.exists():
        raise WorkbenchError(f"{path} exists already.", "Choose another name.")
    said = study_of(library, outcome, concept)
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100), encoding="utf-8")
    return path


def study_of(library: Library, outcome: Outcome, concept: str | None) -> dict[str, Any]:
    """The study as a file says it: are these features necessary for the concept (or, added, sufficient)?

    Args:
        library: Knows the concepts and the SAEs.
        outcome: What was seen.
        concept: What the features should carry.

    Returns:
        The keys of `StudyFile`.

    Raises:
        WorkbenchError: No concept is named or it is unknown, the changes are of several kinds or in a window, too few
            prompts name the concept, or prompt and picture are one sequence at the site.
    """
    from workbench.studies.hypothesis import StudyFile  # here, since it loads torch

    if not concept:
        raise WorkbenchError("A study is about a concept.", "Choose the one that the features should carry.")
    about, changes = library.concept(concept), outcome.request.changes
    change = _one(changes)
    cache = library.cache(change.sae)
    if cache.n_tokens and cache.draws:
        raise WorkbenchError(
            "A study compares equal positions from call to call, and this model has others in each.",
            "Save this as an edit.",
        )
    claim = "necessary" if change.action == "scale" and change.strength < 1 else "sufficient"
    named = [prompt for prompt in outcome.request.prompts if len(occurrences(prompt, concept)) == 1]
    alike = [other.name for other in library.concepts if other.kind == about.kind and other.name != about.name]
    sparing = [*about.retain, *(name for name in alike if name not in about.retain)][:2]
    is_toy = library.run.spec.model.name == "toy"
    if not is_toy and len(named) < LEAST:
        raise WorkbenchError(
            f"{len(named)} of the prompts name {concept!r} exactly once, and a study needs {LEAST}.", "Add some."
        )
    said = {
        "question": f"Are these features of {change.sae} {claim} for {concept}?",
        "model": library.run.spec.model.name, "concept": concept, "sparing": sparing, "claim": claim,
        "subject": {"features": {"sae": library.cache(change.sae).source.given, "listed": list(change.features)}},
        "prompts": DRAWN if is_toy else named,
        "dose": 1.0 - change.strength if claim == "necessary" else 1.0,
    }  # fmt: skip
    build(StudyFile, said, "The study")
    return said


def _one(changes: tuple[Change, ...]) -> Change:
    """The one change that a study is about, or several of the same kind joined."""
    first = changes[0]
    kinds = {(change.sae, change.action, change.strength) for change in changes}
    if len(kinds) > 1:
        raise WorkbenchError(
            f"A study is about one change, and here are {len(changes)}: {'; '.join(map(words_of, changes))}.",
            "Save this as an edit, or leave one kind of change.",
        )
    if any(change.window != ALWAYS for change in changes):
        raise WorkbenchError(
            "A study changes features at all timesteps, and here is a window.", "Save this as an edit, or widen it."
        )
    features = tuple(dict.fromkeys(feature for change in changes for feature in change.features))
    return Change(first.sae, features, first.action, first.strength)


def _checked(name: object) -> str:
    given = name.strip() if isinstance(name, str) else name or ""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise WorkbenchError(
            f"{given!r} is no name for a file." if given else "It has no name yet.",
            "Use up to 80 letters, digits, dots, hyphens and underscores.",
        )
    return given
