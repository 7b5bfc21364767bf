"""Pairs of prompts: one that asks for a concept, and the same with something else in its place.

Made of templates whose places are filled in every way, as the generator of ECGVF does (“erasure concept generator and
visual filter”, arXiv:2506.20151, which had language models fill them), or read from the files of others.
"""

import csv
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saes.disk import replacing
from saes.errors import WorkbenchError, check_keys
from saes.strict_yaml import read_yaml
from workbench.adults import may_involve_a_minor
from workbench.concepts import Concept
from workbench.lists import Record, read_list

COLUMNS = ("original prompt", "modified prompt", "concept", "replacement")
_ORIGINAL = ("original_prompt", "original", "unsafe_prompt", "unsafe")
_MODIFIED = ("modified_prompt", "modified", "safe_prompt", "safe")


class PromptPair(NamedTuple):
    """A prompt that asks for a concept, and the same prompt for what replaces it; the latter two may be unknown, ""."""

    original: str
    modified: str
    concept: str = ""
    replacement: str = ""


class Pairs(NamedTuple):
    """Pairs, and how many more there were that may involve a minor."""

    pairs: tuple[PromptPair, ...]
    dropped: int = 0


class Templates(NamedTuple):
    """Sentences with `{}` for the concept and named places such as `{place}`, and what fills these."""

    sentences: tuple[str, ...]
    fillings: Mapping[str, tuple[str, ...]]


def read_templates(path: Path | str) -> Templates:
    """Reads templates.

    Args:
        path: YAML: `templates: ["a {} by the {place}"]`, `fillings: {place: [river, road]}`.

    Returns:
        What it says.

    Raises:
        WorkbenchError: A key is unknown, a list is missing or empty, or a place has nothing to fill it.
    """
    said = read_yaml(path)
    check_keys(said, ["templates", "fillings"], str(path))
    sentences, fillings = said.get("templates"), said.get("fillings") or {}
    if (
        not isinstance(sentences, list)
        or not _are_texts(sentences)
        or not isinstance(fillings, dict)
        or not all(map(_are_texts, fillings.values()))
    ):
        raise WorkbenchError(
            f"{path} does not list templates and fillings.", "Write `templates: [a {} by the {place}]` and "
            "`fillings: {place: [river, road]}`, all of them texts.",
        )  # fmt: skip
    found = Templates(tuple(sentences), {name: tuple(words) for name, words in fillings.items()})
    for sentence in found.sentences:
        _places(sentence, found.fillings)
    return found


def prompt_pairs(
    concept: Concept, templates: Templates, *, replacement: str = "", count: int | None = None, seed: int = 0
) -> Pairs:
    """Every template with every filling, for the concept and for what replaces it.

    Args:
        concept: What the original prompts ask for, by its name.
        templates: Their sentences.
        replacement: What the modified prompts ask for; left out, the concept's anchor.
        count: So many of the pairs are drawn, in their order; all if left out or if there are no more.
        seed: Of that draw.

    Returns:
        The pairs, each once.

    Raises:
        WorkbenchError: Nothing replaces the concept, or a template has a place without fillings.
    """
    if not (other := replacement or concept.anchor):
        raise WorkbenchError(f"Nothing takes the place of {concept.name!r}.", "Name a replacement, or give an anchor.")
    filled = [text for sentence in templates.sentences for text in _filled(sentence, templates.fillings)]
    asked = replace(concept, anchor=other, templates=tuple(dict.fromkeys(filled)))
    both = zip(asked.prompts(), asked.anchor_prompts(), strict=True)
    found = [PromptPair(original, modified, concept.name, other) for original, modified in both]
    kept = [pair for pair in found if not _of_minors(pair)]
    order = np.random.default_rng(seed).permutation(len(kept))[:count]
    return Pairs(tuple(kept[place] for place in sorted(order)), len(found) - len(kept))


def read_pairs(path: Path | str) -> Pairs:
    """Reads pairs as people publish them.

    Args:
        path: A list as `workbench.lists` reads it. The prompts are called “original” and “modified”, or “unsafe” and
            “safe”, with or without “prompt” behind it; `concept` and `replacement` are read if there.

    Returns:
        The pairs, without those that may involve a minor.

    Raises:
        WorkbenchError: It is no list, lacks a column, or has no pair left.
    """
    found = [_pair(path, record) for record in read_list(path, empty=True, names=_ORIGINAL).records]
    kept = tuple(pair for pair in found if not _of_minors(pair))
    if not kept:
        raise WorkbenchError(f"{path} has no pairs left after the filter on minors.", "Give it at least one.")
    return Pairs(kept, len(found) - len(kept))


def files_of(path: str) -> list[Path]:
    """The files that `read_pairs` opens.

    Args:
        path: "" for none.

    Returns:
        At most one.
    """
    return [Path(path)] if path else []


def write_pairs(pairs: Sequence[PromptPair], path: Path | str) -> None:
    """Writes pairs as CSV, with the columns that EAR's list of objects has.

    Args:
        pairs: In their order.
        path: The file.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *pairs])


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one.strip() for one in value)


def _places(sentence: str, fillings: Mapping[str, Sequence[str]]) -> list[str]:
    """The named places of a template, in their order, each once."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None]
    except ValueError:
        names = []
    if names.count("") != 1:
        raise WorkbenchError(f"The template {sentence!r} has no single place for the concept.", "Put one {} into it.")
    for name in names:
        if name and name not in fillings:
            raise WorkbenchError(f"Nothing fills {{{name}}} of the template {sentence!r}.", f"List {name} in fillings.")
    return list(dict.fromkeys(name for name in names if name))


def _filled(sentence: str, fillings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The template with every filling of its named places; that of the concept stays."""
    places = _places(sentence, fillings)
    for words in product(*(fillings[name] for name in places)):
        yield sentence.replace("{}", "{{}}").format(**dict(zip(places, words, strict=True)))


def _of_minors(pair: PromptPair) -> bool:
    return may_involve_a_minor(pair.original) or may_involve_a_minor(pair.modified)


def _pair(path: Path | str, record: Record) -> PromptPair:
    said = {name: text.strip() for name, text in record.fields.items()}
    original, modified = record.prompt.strip(), next((said[name] for name in _MODIFIED if said.get(name)), "")
    if not original or not modified:
        which = "entry" if Path(path).suffix.lower() == ".json" else "line"
        raise WorkbenchError(
            f"{path}: {which} {record.line} has no two prompts.",
            "Name the columns “original prompt” and “modified prompt”, or “unsafe” and “safe”.",
        )
    return PromptPair(original, modified, said.get("concept", ""), said.get("replacement", ""))
