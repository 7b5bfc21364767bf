"""Numbers of numpy as Python's own, for settings that come out of a table and are written as JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value with every numpy scalar in it, however deep in mappings, lists and tuples, as a Python number, text or
    truth value. Everything else stays what it is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(plain(each) for each in value)
    return value
