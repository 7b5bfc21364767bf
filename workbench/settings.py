"""How pictures are sampled: settings that a kind of model declares, with their defaults."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from saes.errors import WorkbenchError, unknown_name
from saes.plain import plain

Setting = bool | int | float | str


def settled(declared: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a model, the given ones and for the others the defaults.

    Args:
        declared: What the model declares: name → default. The default's type is the type of the setting.
        given: Some of them; None stands for the default, and a name with None need not be declared.

    Returns:
        A value for each declared name, in the declared order, of the declared type (a whole number becomes a float
        where one is due, a number of numpy Python's own).

    Raises:
        WorkbenchError: A name is not declared, a value is of another type, or a number is not finite.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in declared:
            raise unknown_name("sampling setting", name, declared)
    return {name: _typed(name, chosen.get(name, default), type(default)) for name, default in declared.items()}


def _typed(name: str, value: Any, kind: type) -> Any:
    value = plain(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not isfinite(value)):
        words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
        raise WorkbenchError(f"{name} cannot be {value!r}.", f"Give {words[kind]}.")
    return value
