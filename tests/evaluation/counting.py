"""Counts calls of what is expensive, while it does its work."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest


@contextmanager
def counted(owner: Any, name: str) -> Iterator[list[tuple]]:
    """The positional arguments of every call of `owner.name` inside the block."""
    calls: list[tuple] = []
    function = getattr(owner, name)

    @wraps(function)
    def counting(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return function(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, counting)
        yield calls
