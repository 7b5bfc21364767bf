"""The training loop of all methods that fine-tune: AdamW on named parameters, the same result for the same seed however
many processes share the work, and after any kill.

A turn sums the gradients of `micro_batches` losses. Each is drawn from a generator of its own, made from (seed, step,
number of the micro-batch, player), so that no turn depends on how much another one drew, nor on torch's own generator,
nor on which process computes it. Under `accelerate launch` the processes share the micro-batches of a turn and add up
their gradients; the denoiser itself is not wrapped, so that losses may call a model as they like.
"""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.fitting import checkpoints
from workbench.fitting.plan import History
from workbench.fitting.players import Player, Stateful, check
from workbench.fitting.turns import NotFinite, Turns
from workbench.processes import team

STATE = "state"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@overload
def train(
    players: Player, *, seed: int = 0, what: Any = None, state: Stateful | None = None, progress: Progress = SILENT,
    label: str = "training",
) -> History: ...  # fmt: skip
@overload
def train(
    players: Mapping[str, Player], *, seed: int = 0, what: Any = None, state: Stateful | None = None,
    progress: Progress = SILENT, label: str = "training",
) -> dict[str, History]: ...  # fmt: skip
def train(
    players: Player | Mapping[str, Player],
    *,
    seed: int = 0,
    what: Any = None,
    state: Stateful | None = None,
    progress: Progress = SILENT,
    label: str = "training",
) -> History | dict[str, History]:
    """Trains the players' parameters in place. Those ask for gradients only in the turns of their player.

    In each round the players have their turns one after another, each by what the ones before it have learnt. Inside
    `checkpoints.resumable(…)` the training goes on from the last checkpoint of this very training, which `what`, the
    plans, `seed`, `label` and the parameters' first values name.

    Args:
        players: One, or several by their names, in the order of their turns.
        seed: Decides all that the losses draw, 0 or more.
        what: JSON: the method, and all that it was told.
        state: What the losses carry from turn to turn.
        progress: Shows the turns.
        label: What this training is called.

    Returns:
        The terms of the losses: of the one player, or by player.

    Raises:
        WorkbenchError: There is nothing to train, weights are in half precision, the processes cannot share the
            micro-batches or a state, a parameter belongs to two players; or a loss or gradient is not finite. Then
            all parameters and the state are those of the last good turn, which is the last checkpoint too.
    """
    named = {"": players} if isinstance(players, Player) else players
    _check_all(named, state)
    run = _Run(named, seed, what, state, label)
    with _asking_for_nothing(run.weights), torch.enable_grad():
        run.resume()
        with run.kept_if_interrupted():
            for turns in progress(run.turns(), label, run.turns_left, note=run.note):
                run.play(turns)
            run.finish()
    histories = {seat.name: seat.history for seat in run.seats}
    return histories[""] if isinstance(players, Player) else histories


def _check_all(players: Mapping[str, Player], state: Stateful | None) -> None:
    if not players or ("" in players and len(players) > 1):
        raise WorkbenchError("A player has no name, or there is none.", "Name at least one player.")
    for player in players.values():
        check(player.parameters, player.plan)
    weights = [id(one) for player in players.values() for one in player.parameters.values()]
    if len(set(weights)) < len(weights):
        raise WorkbenchError("A parameter is trained twice at once.", "Give each to one player, under one name.")
    if state is not None and team().size > 1:
        raise WorkbenchError("Processes cannot share a training that carries a state.", "Start one process.")


class _Run:
    """One training: its players, its state, its place on disk."""

    def __init__(self, players: Mapping[str, Player], seed: int, what: Any, state: Stateful | None, label: str) -> None:
        self.seats = [Turns(name, player, seed) for name, player in players.items()]
        self.weights = [one for seat in self.seats for one in seat.weights]
        combining = {seat.name: seat.combines for seat in self.seats}
        states = {STATE: state} | {f"{name}:combine": one for name, one in combining.items()}
        self.states = {name: one for name, one in states.items() if one is not None}
        self.began, self.saved = time.monotonic(), -1  # the latter: after how many turns
        self.whole = self._carried()  # what was carried after the last good turn
        self.place = checkpoints.place()
        self.folder: Path | None = None
        if self.place is not None:
            self.folder = self.place.of([label, [_said(seat) for seat in self.seats], seed, what, sorted(self.states)])

    @property
    def n_done(self) -> int:
        """Turns of all players."""
        return sum(len(seat.done) for seat in self.seats)

    @property
    def turns_left(self) -> int:
        """How many there are if no player stops early."""
        return sum(seat.plan.steps for seat in self.seats) - self.n_done

    def turns(self) -> Iterator[Turns]:
        """Who has the next turn, until all have had theirs. Turns that were had before a kill are passed over."""
        rounds = max((seat.plan.steps - 1) * seat.player.every + 1 for seat in self.seats)
        for round in range(rounds):
            for seat in self.seats:
                if seat.is_next(round):
                    yield seat

    def play(self, seat: Turns) -> None:
        """One turn, and a checkpoint if one is due."""
        try:
            with seat.learning():
                terms = seat.gradients()
                with _undisturbed():
                    seat.step(terms)
                    self.whole = self._carried()
        except NotFinite as error:
            raise self._stopped(error) from None
        if self.place is not None and self.place.is_due():
            self._write()

    def finish(self) -> None:
        """Writes the last checkpoint, and leaves the averages in the parameters."""
        self._write()
        for seat in self.seats:
            seat.take_average()

    @contextmanager
    def kept_if_interrupted(self) -> Iterator[None]:
        """An interrupt of the block costs no turn but the one in which it came."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if self.n_done:
                self._write()
            raise

    def resume(self) -> None:
        """Takes over what a checkpoint holds, if there is one."""
        found = checkpoints.read_checkpoint(self.folder, "terms", "seconds", STATE) if self.folder else None
        if found is None:
            return
        facts, tensors = found
        assert self.place is not None
        self.place.regained += facts["seconds"]
        self.began -= facts["seconds"]
        for seat in self.seats:
            seat.restore(tensors, facts["terms"][seat.name])
        for name, one in self.states.items():
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            one.load_state_dict(own | facts[STATE][name])
        self.saved, self.whole = facts["step"], self._carried()

    def note(self) -> str:
        """How the last turns went."""
        last = {seat.name: seat.done[-1] for seat in self.seats if seat.done}
        return ", ".join(f"{name} {term} {value:.3g}".strip() for name, one in last.items()
                         for term, value in one.items())  # fmt: skip

    def _carried(self) -> dict[str, dict[str, Any]]:
        """Copies of what is carried from turn to turn, by whose it is."""
        return {
            name: {key: value.detach().clone() if isinstance(value, Tensor) else value
                   for key, value in one.state_dict().items()}
            for name, one in self.states.items()
        }  # fmt: skip

    def _stopped(self, error: NotFinite) -> WorkbenchError:
        """Everything as it was after the last good turn, and on disk."""
        for name, one in self.states.items():
            one.load_state_dict(self.whole[name])
        self._write()
        kept = f" What was trained in {self.n_done} steps is kept in {self.folder}." if self.folder else ""
        return WorkbenchError(error.problem + kept, error.remedy)

    def _write(self) -> None:
        if self.place is None or self.folder is None:
            return
        with self.place.writing():
            if team().rank == 0 and self.saved != self.n_done:
                tensors = {key: one for seat in self.seats for key, one in seat.tensors().items()}
                said: dict[str, dict[str, Any]] = {name: {} for name in self.whole}
                for name, carried in self.whole.items():
                    for key, value in carried.items():
                        (tensors if isinstance(value, Tensor) else said[name])[_key(name, key, value)] = value
                terms = {seat.name: seat.done for seat in self.seats}
                seconds = time.monotonic() - self.began
                checkpoints.write_checkpoint(
                    self.folder, self.n_done, tensors, terms=terms, seconds=seconds, **{STATE: said}
                )
            self.saved = self.n_done


def _key(name: str, key: str, value: Any) -> str:
    return f"{name}.{key}" if isinstance(value, Tensor) else key


def _said(seat: Turns) -> list[Any]:
    """What names a player's part of a training."""
    combine = seat.player.combine
    named = None if combine is None else getattr(combine, "__qualname__", type(combine).__qualname__)
    first = {name: checkpoints.hash_of(one) for name, one in seat.player.parameters.items()}
    return [seat.name, asdict(seat.plan), seat.player.every, named, first]


@contextmanager
def _asking_for_nothing(weights: list[nn.Parameter]) -> Iterator[None]:
    before = [parameter.requires_grad for parameter in weights]
    try:
        for parameter in weights:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, wanted in zip(weights, before, strict=True):
            parameter.requires_grad_(wanted)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """An interrupt waits for the end of the block: half a step is none. Only the main thread is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = {one: signal.signal(one, lambda number, frame: waiting.append(number)) for one in INTERRUPTS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        for number in waiting:
            signal.raise_signal(number)
