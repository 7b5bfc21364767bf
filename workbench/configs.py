"""Settings from `name=value` pairs, as the command line gives them."""

from collections.abc import Iterable
from typing import Any

from saes.errors import WorkbenchError
from saes.strict_yaml import NotYAML, from_yaml


def read_pairs(pairs: Iterable[str], where: str) -> dict[str, Any]:
    """Reads `name=value` texts as the command line gives them.

    Args:
        pairs: The texts; values are YAML (`k=32`, `a=[1, 2]`).
        where: The option to blame.

    Returns:
        The values by name.

    Raises:
        WorkbenchError: A text has no value, or a name comes twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals:
            raise WorkbenchError(f"{where}: {pair!r} has no value.", "Write it as name=value.")
        if name in values:
            raise WorkbenchError(f"{where}: {name!r} is given twice.", "Give it once.")
        try:
            values[name] = from_yaml(text, f"{where} {name}")
        except NotYAML:
            values[name] = text
    return values
