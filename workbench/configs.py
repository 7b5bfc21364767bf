"""Settings from YAML files and `name=value` pairs, read strictly: an unknown key is an error naming the nearest one."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from saes.errors import WorkbenchError, unknown_name

Settings = TypeVar("Settings")


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Reads a YAML file that holds one mapping. Raises `WorkbenchError` if it is absent, no YAML, or something else."""
    import yaml

    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkbenchError(f"Cannot read {path} ({error.strerror}).", "Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise WorkbenchError(f"{path} is not valid YAML{line}.", "Write it as `key: value` lines.") from None
    if not isinstance(value, dict):
        raise WorkbenchError(f"{path} should hold a mapping.", "Write it as `key: value` lines.")
    return value


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
    import yaml

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise WorkbenchError(f"{where}: {pair!r} has no value.", "Write it as name=value.")
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[name.strip()] = text
    return values
