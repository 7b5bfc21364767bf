"""How many bytes of tensors are alive at once: counted where they are made, so that it is exact, and on a CPU too.

with LiveBytes() as live:
    live.count(model.parameters())     # what was there before
    …
live.peak

Counted are the storages that torch operators return, each once, until the last view of it is gone. What an operator
takes for itself while it runs (a convolution's workspace) and what an allocator holds in reserve are not.
"""

from collections.abc import Iterable
from typing import Any
from weakref import ref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts in its block. `now` is what is alive, `peak` the most that was, since the beginning or `restart`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages: dict[int, ref] = {}

    def count(self, tensors: Iterable[Tensor]) -> None:
        """Takes in tensors that were there before; those that are known already count once.

        Args:
            tensors: Of any kind, views too.
        """
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = id(storage), storage.nbytes()
            if key not in self._storages:  # torch keeps the object of a storage for as long as its memory
                self._storages[key] = ref(storage, lambda _, key=key, size=size: self._gone(key, size))  # type: ignore[misc]
                self.now += size
                self.peak = max(self.peak, self.now)

    def restart(self) -> None:
        """What was the peak so far does not matter any more."""
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator, and counts what it returns."""
        out = func(*args, **(kwargs or {}))
        self.count(one for one in tree_leaves(out) if isinstance(one, Tensor))
        return out

    def _gone(self, key: int, size: int) -> None:
        del self._storages[key]
        self.now -= size
