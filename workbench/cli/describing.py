"""Options of every command that takes a concept: what it is, where no file says so."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli.adding import Added

if TYPE_CHECKING:
    from workbench.concepts import Concept

takes_a_concept = Added({
    "kind": Annotated[
        str | None, typer.Option(help="Kind of the concept: object, style, character, … A name is then described here.")
    ],
    "anchor": Annotated[str | None, typer.Option(help="What may take the concept's place.")],
    "retain": Annotated[
        list[str] | None, typer.Option(help="A word of the same kind that must stay. Repeatable.")
    ],
    "synonym": Annotated[list[str] | None, typer.Option(help="Another word for the concept. Repeatable.")],
})  # fmt: skip


def described(words: list[str]) -> bool:
    """Whether options of the running command describe its concept.

    Args:
        words: The concepts that it is given.

    Returns:
        The answer.

    Raises:
        WorkbenchError: They do, and there is not one concept.
    """
    if takes_a_concept.given and len(words) != 1:
        raise WorkbenchError(
            f"{takes_a_concept.as_typed().strip()} describes one concept, and here are {len(words)}.",
            "Name one, or describe them in a file.",
        )
    return bool(takes_a_concept.given)


def by_options(name: str) -> "Concept":
    """The concept of that name as the options alone describe it, whatever the toy's world says of it."""
    from workbench.concepts import Concept

    return Concept(name, **_fields())


def with_options(concepts: "list[Concept]") -> "list[Concept]":
    """The concepts of a file, with what the options say in the place of what the file says."""
    from workbench.concepts import TEMPLATES

    fields = _fields()
    described([one.name for one in concepts])
    own = concepts[0]
    if "kind" in fields and own.templates == TEMPLATES[own.kind]:
        fields["templates"] = None  # those of the new kind
    return [replace(own, **fields)]


def _fields() -> dict[str, Any]:
    """The options as fields of a concept."""
    return {"synonyms" if name == "synonym" else name: one for name, one in takes_a_concept.given.items()}
