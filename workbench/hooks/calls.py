"""Follows the calls of a pipeline's components, so that each hook inside them can be given its clock.

The pipeline's own code says nothing about the rows of a batch; whoever starts a call does, with `announced`. Two hooks
on each component, present only while somebody follows, note what a call was given.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.hooks.clock import Clock, Role, Step
from workbench.hooks.tokens import Tokens

# what CLIP and T5, the UNets, and the transformers call their input; embeddings where there are no ids
BATCHED = ("input_ids", "inputs_embeds", "sample", "hidden_states")
Steps = Callable[[], int]
Holds = Callable[[], Tokens]


@dataclass(frozen=True)
class Component:
    """A model within a pipeline: its attribute there, what it is, and how much of the schedule its timestep 1.0 is."""

    path: str
    kind: Literal["prompt", "image"]
    timestep_unit: float = 1.0


@dataclass(frozen=True)
class _Said:
    """What was announced of the calls of one side."""

    roles: tuple[Role, ...]
    prompts: tuple[str | None, ...] | None
    steps: Steps | None
    holds: Holds | None
    aside: int = 0


@dataclass(frozen=True)
class _Call:
    """What a component was called with; the clock is made from it when the first hook asks."""

    batch: Tensor
    timestep: Any
    number: int
    said: _Said | None
    aside: bool
    of: int | None


class Calls:
    """Which call each component is in. `runs[kind]` counts the announced blocks and the calls without announcement."""

    def __init__(self, components: Sequence[Component]) -> None:
        self.components = {component.path: component for component in components}
        self.runs: Counter[str] = Counter()
        self._said: dict[str, _Said | None] = {}
        self._numbers: Counter[str] = Counter()
        self._now: dict[str, _Call | Clock] = {}
        self._followers = 0
        self._aside = False
        self._hooks = ExitStack()

    @contextmanager
    def announced(
        self,
        kind: Literal["prompt", "image"],
        roles: Sequence[Role],
        prompts: Sequence[str | None] | None = None,
        steps: Steps | None = None,
        holds: Holds | None = None,
        aside: int = 0,
    ) -> Iterator[None]:
        """Says what the rows stand for in the calls that the body makes, and numbers these calls from 0.

        Args:
            kind: The side whose calls are meant.
            roles: One for each row.
            prompts: Those of the pictures that the rows belong to, None for each that is not known.
            steps: Gives the number of steps that the picture takes; asked during a call.
            holds: Gives what the last positions of a call hold, or all; asked during the call.
            aside: The last so many rows are of no picture.
        """
        outer, numbers = self._said.get(kind), self._numbers.copy()
        self._said[kind] = _Said(tuple(roles), None if prompts is None else tuple(prompts), steps, holds, aside)
        self._restart(kind)
        try:
            yield
            self.runs[kind] += not self._aside  # aside calls are never recorded, so they do not count as missed
        finally:
            self._said[kind], self._numbers = outer, numbers

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The calls that the body makes are of no picture: recorders are given none of their rows."""
        outer, self._aside = self._aside, True
        try:
            yield
        finally:
            self._aside = outer

    @contextmanager
    def widened(self, path: str, roles: Sequence[Role]) -> Iterator[None]:
        """In the body, the call that the component is in has more rows of no picture, after its own."""
        clock = self.now(path)
        if clock is None:  # nobody follows
            yield
            return
        own = clock.prompts  # branch after branch, each with the same pictures
        prompts = None if own is None else (*own, *islice(cycle(own), len(roles)))
        self._now[path] = replace(clock, roles=(*clock.roles, *roles), prompts=prompts, aside=len(roles))
        try:
            yield
        finally:
            self._now[path] = clock

    @contextmanager
    def followed(self, find: Callable[[str], nn.Module]) -> Iterator[None]:
        """Hooks on every component while the body runs, one pair however many follow. `find` resolves a path."""
        if not self._followers:
            self._attach(find)
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._hooks.close()

    @property
    def has_followers(self) -> bool:
        """Whether any hook may ask which call it is in."""
        return self._followers > 0

    def now(self, path: str) -> Clock | None:
        """The clock of the call that the component is in, None between calls.

        Raises `WorkbenchError` if nobody announced the rows, or announced another number of them.
        """
        call = self._now.get(path)
        if isinstance(call, _Call):
            call = self._now[path] = self._clock(self.components[path], call)
        return call

    def _attach(self, find: Callable[[str], nn.Module]) -> None:
        for path in self.components:
            module = find(path)
            # of the class: the instance's `forward` may be another library's wrapper (torch.compile, nnsight)
            kind: Any = type(getattr(module, "_orig_mod", module))
            names = list(inspect.signature(kind.forward).parameters)[1:]
            self._hooks.callback(module.register_forward_pre_hook(self._starts(path, names), with_kwargs=True).remove)
            self._hooks.callback(module.register_forward_hook(self._ends(path), always_call=True).remove)

    def _restart(self, kind: str) -> None:
        for path, component in self.components.items():
            if component.kind == kind:
                self._numbers[path] = 0

    def _starts(self, path: str, names: list[str]) -> Callable:
        kind = self.components[path].kind

        def starts(module: nn.Module, args: tuple, kwargs: dict) -> None:
            given = dict(zip(names, args, strict=False)) | kwargs
            batch = next(given[name] for name in BATCHED if given.get(name) is not None)
            said = self._said.get(kind)
            of = said.steps() if said and said.steps else None
            self._now[path] = _Call(batch, given.get("timestep"), self._numbers[path], said, self._aside, of)
            self._numbers[path] += 1
            self.runs[kind] += said is None

        return starts

    def _ends(self, path: str) -> Callable:
        def ends(module: nn.Module, args: tuple, output: Any) -> None:
            self._now.pop(path, None)

        return ends

    def _clock(self, component: Component, call: _Call) -> Clock:
        rows = call.batch.shape[0]
        said = call.said
        if said is None:
            raise WorkbenchError(
                f"`{component.path}` was called directly, so nobody knows which rows are conditional.",
                "Call model.generate, model.encode or model.noise_prediction, "
                f"or wrap the call in model.wiring.calls.announced({component.kind!r}, roles).",
            )
        if len(said.roles) != rows:
            raise WorkbenchError(
                f"`{component.path}` was called with {rows} rows, and {len(said.roles)} were announced.",
                "Announce one role for each row of the batch.",
            )
        aside = rows if call.aside else said.aside
        clock = Clock(
            component.kind, call.number, None, said.roles, device=call.batch.device, aside=aside, prompts=said.prompts
        )
        if component.kind == "prompt":
            return clock if call.batch.is_floating_point() else replace(clock, token_ids=call.batch)
        timestep = None if call.timestep is None else _timestep(call.timestep) * component.timestep_unit
        tokens = None if said.holds is None else said.holds().last(call.batch.shape[1])
        return replace(clock, step=Step(call.number, call.of, timestep), tokens=tokens)


def _timestep(given: Any) -> float:
    """One number for the batch. Reading it waits for the device, once a call and only where a hook asks."""
    if not isinstance(given, Tensor):
        return float(given)
    first = given.detach().flatten()[0]
    if not torch.all(given == first):
        raise WorkbenchError(
            "A hook met a batch whose rows are at different timesteps.",
            "Give all rows of one call the same timestep while a session is open.",
        )
    return float(first)
