"""Numbers as tables, files and other libraries hand them over, as Python's own."""

from collections.abc import Mapping
from contextlib import suppress
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


def whole(value: Any) -> int | None:
    """A whole number as Python's own, however it was handed over.

    Args:
        value: anything; numbers of Python, numpy and torch (without dimensions), and texts such as "4068" and "4068.0",
            which is how pandas writes a column with gaps.

    Returns:
        The number; None if it is no whole number, or a float or such a text beyond 2⁵³, where floats leave numbers out.
    """
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:
        value = item()
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            return int(value)
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    return value if isinstance(value, int) else None
