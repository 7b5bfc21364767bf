"""The hooks of one model: one torch hook for each place that any open session reads or edits.

Sessions nest, and edits compose in the order in which they were installed. Torch would run hooks that are registered
first (see `Tap`) in the opposite order, so a place has one hook, which goes through a list.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.hooks.calls import Calls, Component
from workbench.hooks.clock import Clock
from workbench.hooks.site import Activation, Site

REMEMBERED_CALLS = 1000  # more image calls than any backward pass spans


@runtime_checkable
class Listener(Protocol):
    """What a session installs at a site: an edit or a recorder."""

    site: Site
    edits: bool  # edits come first, so that recorders see their result

    def apply(self, activation: Activation, clock: Clock, *, again: bool) -> Tensor:
        """The new activation, or the very same object if nothing changes. `again`: a recomputation for gradients."""
        ...


class Tap:
    """The one hook at a module's input or output.

    An output hook is registered in front of all others: transformers collects the hidden states of a text encoder by
    hooks of its own, and what those have already taken, a later hook can no longer change.
    """

    def __init__(self, module: nn.Module, site: Site, calls: Calls) -> None:
        self.listeners: list[Listener] = []
        self._calls = calls
        self._root = site.path.split(".")[0]
        # Gradient checkpointing runs a block again in the backward pass, when its component is in no call. The blocks
        # of later calls come first then, so the clocks of past calls are taken back from the end.
        self._past: deque[Clock] = deque(maxlen=REMEMBERED_CALLS)
        if site.slot == "input":
            self.remove = module.register_forward_pre_hook(lambda _, args: self._fire(args, site.path)).remove
        else:
            hook = module.register_forward_hook(lambda _, args, out: self._fire(out, site.path), prepend=True)
            self.remove = hook.remove

    def _fire(self, handed_over: Any, path: str) -> Any:
        clock = self._calls.now(self._root)
        again = clock is None
        if clock is None:
            clock = self._recall(path)
        else:
            self._past.append(clock)
        for listener in self.listeners:
            activation = listener.site.read(handed_over)
            new = listener.apply(activation, clock, again=again)
            if new is not activation:
                handed_over = listener.site.write(handed_over, new)
        return handed_over

    def _recall(self, path: str) -> Clock:
        if not self._past:
            raise WorkbenchError(
                f"`{path}` ran outside any call of the model that a session could follow.",
                "Call the whole model, and keep the backward pass inside the session that the forward pass was in.",
            )
        return self._past.pop()


class Wiring:
    """What a model handle gives to sessions: how to find its modules, its calls, and the taps that are open."""

    def __init__(self, find: Callable[[str], nn.Module], components: Sequence[Component]) -> None:
        self.find = find
        self.calls = Calls(components)
        self._taps: dict[tuple[nn.Module, str], Tap] = {}

    def followed(self) -> Any:
        """Context manager in which the calls of the components are followed."""
        return self.calls.followed(self.find)

    @contextmanager
    def installed(self, listener: Listener) -> Iterator[None]:
        """The listener is at its site while the body runs; the tap goes with the last one."""
        key = (self.find(listener.site.path), listener.site.slot)
        tap = self._taps.get(key) or self._taps.setdefault(key, Tap(key[0], listener.site, self.calls))
        tap.listeners.append(listener)
        tap.listeners.sort(key=lambda entry: not entry.edits)
        try:
            yield
        finally:
            tap.listeners.remove(listener)
            if not tap.listeners:
                tap.remove()
                del self._taps[key]
