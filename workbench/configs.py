"""Settings from plain values and `name=value` pairs, read strictly: an unknown key is an error naming the nearest."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from saes.errors import WorkbenchError, unknown_name
from saes.strict_yaml import NotYAML, from_yaml

Settings = TypeVar("Settings")


def check_keys(given: Iterable[Any], known: Collection[str], where: str) -> None:
    """Raises `WorkbenchError` for the first given key that is not known; `where` is the file or option to blame."""
    for key in given:
        if key not in known:
            error = unknown_name("key", str(key), known)
            raise WorkbenchError(f"{where}: {error.problem}", error.remedy)


def build(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Makes a dataclass or pydantic model from plain values, with its types checked and converted (lists to tuples, …).

    Raises `WorkbenchError` for an unknown key, a missing one, and a value of another type or out of range.
    """
    from pydantic import TypeAdapter, ValidationError

    check_keys(values, field_names(kind), where)
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise WorkbenchError(
            f"{where}: {key or 'the whole'}: {first['msg']}.", f"Correct {key or 'it'} and run again."
        ) from None


def field_names(kind: type) -> list[str]:
    """The keys that a dataclass or a pydantic model takes."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind) if field.init]
    return list(kind.model_fields)  # type: ignore[attr-defined]  # pydantic's own table


def read_pairs(pairs: Iterable[str], where: str) -> dict[str, Any]:
    """Reads `name=value` texts as the command line gives them; values are YAML (`k=32`, `a=[1, 2]`)."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise WorkbenchError(f"{where}: {pair!r} has no value.", "Write it as name=value.")
        try:
            values[name.strip()] = from_yaml(text, f"{where} {name.strip()}")
        except NotYAML:
            values[name.strip()] = text
    return values
