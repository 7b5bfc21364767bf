"""A session: recorders and edits that are installed for a while, count what they saw, and always go away again."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from saes.errors import WorkbenchError
from workbench.hooks.clock import Clock
from workbench.hooks.site import Activation, Site, SiteEdit, Transform
from workbench.hooks.wiring import Wiring

Keep = Callable[[Site, Tensor, Clock], Tensor | None]
Records = dict[str, list[tuple[Clock, Tensor]]]


@runtime_checkable
class Wired(Protocol):
    """A model that sessions can be opened on."""

    wiring: Wiring


def compact(tensor: Tensor) -> Tensor:
    """The tensor, detached, and without the rest of a larger memory block that a selection would keep alive."""
    tensor = tensor.detach()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


@dataclass(eq=False)
class _Edit:
    site: Site
    transform: Transform
    hits: int = 0
    edits: bool = True

    def apply(self, activation: Activation, clock: Clock, *, again: bool) -> Tensor:
        self.hits += not again
        return self.transform(activation, clock)


@dataclass(eq=False)
class _Recorder:
    site: Site
    keep: Keep | None
    records: list[tuple[Clock, Tensor]] = field(default_factory=list)
    hits: int = 0
    edits: bool = False

    def apply(self, activation: Activation, clock: Clock, *, again: bool) -> Tensor:
        if not again and clock.own.roles:
            self._note(activation[: len(clock.own.roles)].detach(), clock.own)
        return activation

    def _note(self, activation: Activation, clock: Clock) -> None:
        self.hits += 1
        kept = self.keep(self.site, activation, clock) if self.keep else activation
        if kept is not None:
            self.records.append((clock, kept if self.keep is None else compact(kept)))


class Session:
    """Reads and edits activations of a model while its `with` block runs.

    Edits compose in the order given, those of an outer session first; recorders see an activation after all edits at
    its site. `records[alias]` lists `(clock, activation [rows, positions, channels])` in the order of the calls,
    detached and not copied. `keep(site, activation, clock)` thins each record inside the hook (choose rows, positions,
    timesteps; None keeps nothing), so that a long harvest stays small. `hits[alias]` counts the calls that the hooks
    at this site saw; recomputation under gradient checkpointing is not counted.

    All hooks are gone after the block, also when its body raises. A hook that saw nothing although its component ran
    is a `WorkbenchError` at the end of the block. A backward pass through checkpointed blocks belongs into the block.
    """

    def __init__(
        self, model: Wired, record: Sequence[Site] = (), edits: Sequence[SiteEdit] = (), keep: Keep | None = None
    ) -> None:
        self._wiring = model.wiring
        self._recorders = [_Recorder(site, keep) for site in record]
        self._listeners: list[_Edit | _Recorder] = [_Edit(site, transform) for site, transform in edits]
        self._listeners += self._recorders
        self._stack = ExitStack()
        self.records: Records = {recorder.site.alias: recorder.records for recorder in self._recorders}

    @property
    def hits(self) -> dict[str, int]:
        """Calls seen at each site, by alias. Two hooks at one site see the same calls."""
        return {listener.site.alias: listener.hits for listener in self._listeners}

    def __enter__(self) -> "Session":
        with ExitStack() as stack:
            stack.enter_context(self._wiring.followed())
            for listener in self._listeners:
                stack.enter_context(self._wiring.installed(listener))
            self._stack = stack.pop_all()
        self._runs = self._wiring.calls.runs.copy()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is None:
            for listener in self._listeners:
                self._check_fired(listener)

    def _check_fired(self, listener: _Edit | _Recorder) -> None:
        site = listener.site
        if not listener.hits and self._wiring.calls.runs[site.component] > self._runs[site.component]:
            raise WorkbenchError(
                f"The {site.component} component ran, but the {'edit' if listener.edits else 'recorder'} at site "
                f"{site.alias!r} (`{site.path}`) never fired.",
                "torch.compile and fused attention projections silence hooks: use the model without them, or a site "
                "whose module the model really calls.",
            )
