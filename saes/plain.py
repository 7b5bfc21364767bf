"""Numbers of numpy as Python's own, for settings that come out of a table and are written as JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A value with Python's own numbers, texts and truth values in the place of numpy's scalars.

    Args:
        value: anything; mappings, lists and tuples are gone through, however deep.

    Returns:
        The value; what holds no numpy scalar stays what it is.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(plain(each) for each in value)
    return value
