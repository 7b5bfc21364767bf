"""Concepts: what is to be found or erased, what may take its place, what must stay, and the prompts that say so."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from saes.errors import WorkbenchError, check_keys, unknown_name
from saes.settings import build, field_names
from saes.strict_yaml import read_yaml
from workbench.words import pattern

PERSON = ("a photo of a {} person", "a portrait of a {} person", "the face of a {} person")
TEMPLATES = {  # kind → the sentences that name a concept of this kind
    "object": ("a photo of a {}", "a picture of a {}", "a {}", "there is a {}", "a {} on its own"),
    "style": ("a painting by {}", "a cat by {}", "a house in the style of {}", "a tree painted by {}", "a {} painting"),
    "character": ("a portrait of {}", "a photo of {}", "{}", "a picture of {}"),
    "colour": ("a photo of a {} car", "a {} house", "a picture of a {} cat", "there is a {} tree"),
    "implicit": ("a cat with a {}", "a house with a {}", "a car with a {}"),
    "unsafe": ("a photo of {}", "a picture of a cat and {}", "{}"),
    "private": ("a photo of {}", "a portrait of {}", "{}"),
    "gender": PERSON,
    "age": PERSON,
    "race": PERSON,
}


@dataclass(frozen=True)
class Concept:
    """A concept by its name, with everything that a method or an evaluation needs to know about it.

    `retain` are words of the same kind that must survive; `captions` are whole prompts that must stay as they are.
    `implied` are whole prompts that bring the concept about without naming it. Each of `templates` holds one `{}`, and
    "a {}" becomes "an {}" before a vowel. Lists are turned into tuples.
    Raises `WorkbenchError` for an empty name, an anchor or a retained word that is the target itself, an unknown kind,
    a template without a place for the name, and a plain string where a list belongs.
    """

    name: str
    _: KW_ONLY
    anchor: str = ""
    kind: str = "object"
    synonyms: Sequence[str] = ()
    retain: Sequence[str] = ()
    captions: Sequence[str] = ()
    implied: Sequence[str] = ()
    templates: Sequence[str] | None = None  # None: those of the kind

    def __post_init__(self) -> None:
        if self.kind not in TEMPLATES:
            raise unknown_name("kind of concept", self.kind, TEMPLATES)
        if self.templates is None:
            object.__setattr__(self, "templates", TEMPLATES[self.kind])
        for name in ("synonyms", "retain", "captions", "implied", "templates"):
            object.__setattr__(self, name, self._texts(name))
        self._check_words()
        self._check_templates()

    def prompts(self) -> tuple[str, ...]:
        """One prompt a template, with the concept's own name."""
        return self._filled([self.name])

    def synonym_prompts(self) -> tuple[str, ...]:
        """Every synonym in every template."""
        return self._filled(self.synonyms)

    def anchor_prompts(self) -> tuple[str, ...]:
        """The prompts with the anchor in the concept's place, in the same order; with no anchor, empty prompts."""
        return self._filled([self.anchor]) if self.anchor else ("",) * len(self.prompts())

    def retain_prompts(self, without: Iterable[str] = ()) -> tuple[str, ...]:
        """Every retained word in every template, then the captions. What is in `without` or names it is left out."""
        dropped = {word.casefold() for word in without}
        kept = [word for word in self.retain if word.casefold() not in dropped]
        return self._filled(kept) + self.kept_captions(dropped)

    def kept_captions(self, without: Iterable[str] = ()) -> tuple[str, ...]:
        """The captions that name none of these words."""
        words = tuple(without)
        return tuple(caption for caption in self.captions if not names_any(caption, words))

    def words(self) -> tuple[str, ...]:
        """The name and the synonyms."""
        return (self.name, *self.synonyms)

    def _filled(self, words: Sequence[str]) -> tuple[str, ...]:
        assert self.templates is not None  # set in __post_init__
        return tuple(filled(template, word) for word in words for template in self.templates)

    def _texts(self, name: str) -> tuple[str, ...]:
        given = getattr(self, name)
        if isinstance(given, str):
            raise WorkbenchError(
                f"`{name}` of the concept {self.name!r} is the single text {given!r}.", f"Write {name}=[{given!r}]."
            )
        if any(not text.strip() for text in given):
            raise WorkbenchError(f"`{name}` of the concept {self.name!r} has an empty entry.", "Remove it.")
        return tuple(given)

    def _check_words(self) -> None:
        if not self.name.strip():
            raise WorkbenchError("A concept has no name.", "Give it the word that prompts use for it.")
        target = {word.casefold() for word in self.words()}
        if self.anchor.casefold() in target:
            raise WorkbenchError(
                f"The anchor of {self.name!r} is the concept itself.", "Choose another word to take its place, or none."
            )
        for word in self.retain:
            if word.casefold() in target:
                raise WorkbenchError(
                    f"{word!r} is to be erased and retained at once.", "Take it out of one of the two."
                )

    def _check_templates(self) -> None:
        if not self.templates:
            raise WorkbenchError(f"The concept {self.name!r} has no templates, so no prompts.", "Give at least one.")
        for template in self.templates:
            if template.count("{}") != 1 or template.count("{") != 1:
                raise WorkbenchError(
                    f"The template {template!r} has no single place for the name.", "Put one {} into it."
                )

    def _repr_html_(self) -> str:
        shown = [(field.name, getattr(self, field.name)) for field in fields(self)]
        rows = [
            f"<tr><th>{name}</th><td>{escape(value if isinstance(value, str) else ', '.join(value))}</td></tr>"
            for name, value in shown
            if value
        ]
        return f"<table>{''.join(rows)}</table>"


def read_concepts(path: Path | str) -> tuple[Concept, ...]:
    """Reads a YAML file of concepts, one key each: `fox: {anchor: cat, synonyms: [vixen], retain: [dog, bear]}`.

    Raises `WorkbenchError` for a file without concepts, an unknown key (naming the nearest), a value of another type.
    """
    concepts = []
    for name, values in read_yaml(path).items():
        where = f"{path}, concept {name!r}"
        if not isinstance(values, dict | None):
            raise WorkbenchError(f"{where} should be a mapping.", "Write `name: {anchor: …, retain: […]}`.")
        check_keys(values or {}, [key for key in field_names(Concept) if key != "name"], where)
        concepts.append(build(Concept, {"name": name, **(values or {})}, where))
    if not concepts:
        raise WorkbenchError(f"{path} holds no concepts.", "Write one key for each: `fox: {anchor: cat}`.")
    return tuple(concepts)


def check_concept(given: Any) -> Concept:
    """The concept itself. Raises `WorkbenchError` if it is something else, such as a text."""
    if not isinstance(given, Concept):
        raise WorkbenchError(
            f"{given!r} is no concept.", f"Write Concept({given!r}, …), or read some with read_concepts(path)."
        )
    return given


def concept_list(given: Any) -> list[Concept]:
    """One concept or several. Raises `WorkbenchError` for none, a name given twice, and what is no concept."""
    found = [check_concept(each) for each in (given if isinstance(given, list | tuple) else [given])]
    names = [concept.name for concept in found]
    if not found:
        raise WorkbenchError("There is no concept.", "Give at least one.")
    if len(set(names)) < len(names):
        raise WorkbenchError(f"A concept is given twice ({', '.join(names)}).", "Name each once.")
    return found


def filled(template: str, word: str) -> str:
    """The sentence with a word in the place of its {}; "a {}" becomes "an {}" before a vowel."""
    if word[0].lower() in "aeiou":
        template = re.sub(r"\b([aA]) \{\}", r"\1n {}", template)
    return template.replace("{}", word)


def names_any(text: str, words: Iterable[str]) -> bool:
    """Whether a text names one of these words, whole, in any case."""
    return re.search("|".join(map(pattern, words)) or r"(?!)", text, re.IGNORECASE) is not None


def fitting_prompts(concept: Concept) -> set[str]:
    """Every prompt that a fit may be made of.

    Args:
        concept: What the fit is of.

    Returns:
        Those of its words, its anchor, what it retains and what implies it.
    """
    return {
        *concept.prompts(), *concept.synonym_prompts(), *concept.anchor_prompts(), *concept.retain_prompts(),
        *concept.implied,
    }  # fmt: skip
