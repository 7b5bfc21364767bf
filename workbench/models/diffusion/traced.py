"""What nnsight's view asks of a model, and the lock that lets one trace in at a time."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from workbench.hooks import Site
from workbench.models.encoding import Encoding


@runtime_checkable
class Traced(Protocol):
    """A model that encodes prompts and predicts noise, with sites by alias."""

    name: str
    pipe: Any

    def sites(self) -> Mapping[str, Site]: ...

    def site(self, alias: str) -> Site: ...

    def module(self, path: str) -> nn.Module: ...

    def encode(self, prompts: Sequence[str]) -> Encoding: ...

    def noise_prediction(self, latents: Tensor, timestep: int | float, encoding: Encoding) -> Tensor: ...


_locks: WeakKeyDictionary[Traced, Lock] = WeakKeyDictionary()


def lock_of(model: Traced) -> Lock:
    """The lock that whoever traces this model holds."""
    return _locks.setdefault(model, Lock())
