"""Plain values, as files and command lines give them, made into configurations."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, TypeVar

from saes.errors import WorkbenchError, check_keys

if TYPE_CHECKING:
    from pydantic import ValidationError

Settings = TypeVar("Settings")
PLAINLY = {"missing": "is missing", "extra_forbidden": "there is no such key"}  # in place of pydantic's words


def build(kind: type[Settings], values: Any, where: str, remedy: str = "") -> Settings:
    """Makes a configuration from plain values.

    Args:
        kind: a `StrictConfig` or a dataclass, to whose types the values are checked and converted (lists to tuples, …).
        values: its fields by name; anything else is refused.
        where: the file or option to blame.
        remedy: what to do about a value that does not fit, if it is something else than to correct it.

    Returns:
        The configuration.

    Raises:
        WorkbenchError: an unknown key, a missing one, or a value of another type, out of range, or not finite.
    """
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, Mapping):
        raise WorkbenchError(f"{where} should hold a mapping.", remedy or "Give names with values.")
    check_keys(values, field_names(kind), where)
    try:
        made = TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise does_not_fit(error, where, remedy) from None
    for name in values:
        if not all(map(math.isfinite, _numbers(getattr(made, name)))):
            raise WorkbenchError(f"{where}: {name} is not finite.", remedy or "Give a finite number.")
    return made


def field_names(kind: type) -> list[str]:
    """The keys that a configuration takes.

    Args:
        kind: a dataclass or a pydantic model.

    Returns:
        Their names, in order.
    """
    if is_dataclass(kind):
        return [field.name for field in fields(kind) if field.init]
    return list(kind.model_fields)  # type: ignore[attr-defined]  # pydantic's own table


def does_not_fit(error: "ValidationError", where: str = "", remedy: str = "") -> WorkbenchError:
    """The error for values that pydantic refused.

    Args:
        error: what pydantic raised; one of its complaints is told, first of all one about an unknown key.
        where: the file or option to blame, if the user gave one.
        remedy: what to do, if it is something else than to correct the value.

    Returns:
        The error, for the caller to raise.
    """
    worst = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(map(str, worst["loc"])) or "the whole"
    said = ": ".join(filter(None, [where, key, PLAINLY.get(worst["type"], worst["msg"])]))
    given = "Give it" if worst["type"] == "missing" else f"It is {short(worst['input'])}; correct it"
    return WorkbenchError(f"{said}.", remedy or f"{given} and run again.")


def _numbers(value: Any) -> Iterator[float]:
    """All floats in a value, within lists and mappings too."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
