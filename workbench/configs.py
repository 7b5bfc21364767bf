"""Settings from `name=value` pairs, as the command line gives them."""

from collections.abc import Iterable
from typing import Any

from saes.errors import WorkbenchError
from saes.strict_yaml import NotYAML, from_yaml


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
