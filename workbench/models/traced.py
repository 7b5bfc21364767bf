"""What nnsight's view asks of a model, and the lock that lets one trace in at a time."""

from collections.abc import Mapping
from threading import Lock
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from torch import nn

from workbench.hooks import Site


@runtime_checkable
class Traced(Protocol):
    """A model with sites by alias."""

    name: str
    pipe: Any

    def sites(self) -> Mapping[str, Site]: ...

    def site(self, alias: str) -> Site: ...

    def module(self, path: str) -> nn.Module: ...


_locks: WeakKeyDictionary[Traced, Lock] = WeakKeyDictionary()


def lock_of(model: Traced) -> Lock:
    """The lock that whoever traces this model holds."""
    return _locks.setdefault(model, Lock())
