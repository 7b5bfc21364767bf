"""The training loop of all methods that fine-tune: AdamW on named parameters, the same result for the same seed however
many processes share the work, and after any kill.

A step sums the gradients of `micro_batches` losses. Each is drawn from a generator of its own, made from (seed, step,
number of the micro-batch), so that no step depends on how much another one drew, nor on torch's own generator, nor on
which process computes it. Under `accelerate launch` the processes share the micro-batches of a step and add up their
gradients; the denoiser itself is not wrapped, so that losses may call a model as they like.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from accelerate.utils import reduce
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.fitting import checkpoints
from workbench.precision import fast_dtype
from workbench.processes import processes

Terms = Mapping[str, Tensor]
Loss = Callable[[int, torch.Generator], Tensor | Terms]  # (step from 0, generator) → a scalar, or terms to be summed
AVERAGE, PILE, WEIGHT = "average", "gradient", "weight"
SCHEDULES = ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial")
WINDOW = 20  # steps whose mean loss decides whether a training still improves


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how fast, and with what. Raises `WorkbenchError` for what cannot be.

    `schedule` is one of diffusers' (`SCHEDULES`) after `warmup` steps; `cycles` are those of "cosine_with_restarts".
    `weight_decay=0` makes AdamW Adam. `clip` is the largest norm that the gradient of all parameters together may
    have. `ema` keeps a moving average with this decay, which is what comes out. `patience` stops when the mean loss of
    `WINDOW` steps has had no new minimum for so many steps. `autocast` computes losses in bfloat16 while the weights
    stay in float32: "measured" where that is faster here. `keep_gradients` never zeroes the gradients, so that every
    step goes along the sum of all so far: the slip of TRCE's official code.
    """

    steps: int
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    schedule: str = "constant"
    warmup: int = 0
    cycles: int = 1
    micro_batches: int = 1
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    autocast: Literal["no", "bfloat16", "measured"] = "no"
    keep_gradients: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        for name in ("steps", "cycles", "micro_batches", "patience"):
            _expect(name, getattr(self, name), lambda value: value >= 1, "1 or more")
        for name in ("lr", "clip", "eps"):
            _expect(name, getattr(self, name), lambda value: value > 0, "more than 0")
        for name in ("warmup", "weight_decay"):
            _expect(name, getattr(self, name), lambda value: value >= 0, "0 or more")
        _expect("ema", self.ema, lambda value: 0 < value < 1, "a number between 0 and 1")


def _expect(name: str, value: float | int | None, holds: Callable[[float], bool], wanted: str) -> None:
    if value is not None and not holds(value):
        raise WorkbenchError(f"{name} is {value}.", f"Choose {wanted}.")


class History(NamedTuple):
    """The terms of the loss before each step, by name, and whether the training ended before its plan did."""

    terms: list[dict[str, float]]
    stopped_early: bool = False

    @property
    def losses(self) -> list[float]:
        """Their sums."""
        return [sum(one.values()) for one in self.terms]


def train(
    parameters: Mapping[str, nn.Parameter],
    loss: Loss,
    plan: Plan,
    *,
    seed: int = 0,
    what: Any = None,
    progress: Progress = SILENT,
    label: str = "training",
) -> History:
    """Trains `parameters` in place. They ask for gradients only while this runs.

    Inside `checkpoints.resumable(…)` it goes on from the last checkpoint of this very training, which `what` (JSON: the
    method and all that it was told), `plan`, `seed`, `label` and the parameters' first values name. Raises
    `WorkbenchError` for no parameters, for weights in half precision, which would lose such small steps, for a number
    of micro-batches that the processes cannot share, and for a loss that is no longer finite: the parameters then are
    those of the last good step, which is the last checkpoint too.
    """
    check(parameters, plan)
    run = _Run(parameters, loss, plan, seed, what, label)
    with _asking_for_gradients(run.weights):
        done = run.resumed()
        steps = progress(range(len(done), plan.steps), label, plan.steps - len(done), note=lambda: _shown(done))
        for step in steps:
            if plan.patience is not None and stops_early(History(done).losses, plan.patience):
                return run.finished(done, early=True)
            done.append(run.step(step, done))
        return run.finished(done, early=False)


def check(parameters: Mapping[str, nn.Parameter], plan: Plan) -> None:
    """Raises `WorkbenchError` for what cannot be trained; for those who want to know before they begin."""
    if not parameters:
        raise WorkbenchError("There is no parameter to train.", "Choose other ones.")
    check_precision(parameters.values())
    sharing = processes().num_processes
    if plan.micro_batches % sharing:
        raise WorkbenchError(
            f"{sharing} processes cannot share {plan.micro_batches} micro-batches a step.",
            "Give the method a multiple of the number of processes, or start fewer.",
        )


def check_precision(parameters: Iterable[nn.Parameter]) -> None:
    """Raises `WorkbenchError` for weights in half precision."""
    if any(torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise WorkbenchError("Weights in half precision cannot be fine-tuned.", "Load the model in torch.float32.")


def generator_of(seed: int, step: int, micro_batch: int = 0) -> torch.Generator:
    """A CPU generator of its own for this micro-batch of this step."""
    entropy = [seed, step, micro_batch] if micro_batch else [seed, step]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def stops_early(losses: list[float], patience: int) -> bool:
    """Whether the mean loss of the last `WINDOW` steps has had no new minimum for `patience` steps."""
    if len(losses) < WINDOW + patience:
        return False
    means = np.convolve(losses, np.ones(WINDOW) / WINDOW, mode="valid")
    return len(means) - 1 - int(means.argmin()) >= patience


class _Run:
    """One training: its optimiser, its average, its place on disk."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], loss: Loss, plan: Plan, seed: int, what: Any, label: str
    ) -> None:
        self.names, self.weights = list(parameters), list(parameters.values())
        self.loss, self.plan, self.seed = loss, plan, seed
        self.state, self.device = processes(), self.weights[0].device
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=plan.lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay
        )
        self.rate = rates(plan)
        self.fast = plan.autocast == "bfloat16" or (
            plan.autocast == "measured" and fast_dtype(self.device.type) == torch.bfloat16
        )
        self.average = {name: one.detach().clone() for name, one in parameters.items()} if plan.ema is not None else {}
        self.pile: dict[str, Tensor] = {}  # the sum of all gradients so far, where they are kept
        self.began, self.saved = time.monotonic(), -1  # the latter: after how many steps
        self.place = checkpoints.place()
        self.folder: Path | None = None
        if self.place is not None:
            first = {name: checkpoints.hash_of(one) for name, one in parameters.items()}
            self.folder = self.place.of([label, asdict(plan), seed, what, first])

    def resumed(self) -> list[dict[str, float]]:
        """The terms of the steps that a checkpoint holds, whose state it takes over; empty without one."""
        found = checkpoints.read_checkpoint(self.folder, "terms", "seconds") if self.folder else None
        if found is None:
            return []
        facts, tensors = found
        assert self.place is not None
        self.place.regained += facts["seconds"]
        self.began -= facts["seconds"]
        self.saved = facts["step"]
        self.pile = {
            key.removeprefix(f"{PILE}."): tensor.to(self.device)
            for key, tensor in tensors.items() if key.startswith(f"{PILE}.")
        }  # fmt: skip
        with torch.no_grad():
            for name, one in zip(self.names, self.weights, strict=True):
                one.copy_(tensors[f"{WEIGHT}.{name}"])
            for name, mean in self.average.items():
                mean.copy_(tensors[f"{AVERAGE}.{name}"])
        checkpoints.restore_optimiser(self.optimiser, tensors)
        return facts["terms"]

    def step(self, step: int, done: list[dict[str, float]]) -> dict[str, float]:
        """One step, and a checkpoint if one is due. Gives the terms of the loss before it."""
        self.optimiser.param_groups[0]["lr"] = self.rate(step)
        self.optimiser.zero_grad()
        share = range(self.state.process_index, self.plan.micro_batches, self.state.num_processes)
        terms = _mean([self._backward(step, number) for number in share])
        if self.state.num_processes > 1:
            terms = self._shared(terms)
        norm = self._norm()
        self._check_finite(terms, norm, step, done)
        if self.plan.keep_gradients:
            self._pile_up()
            norm = self._norm()
        if self.plan.clip is not None:
            nn.utils.clip_grads_with_norm_(self.weights, self.plan.clip, norm)
        self.optimiser.step()
        if self.plan.ema is not None:
            weights = [one.detach() for one in self.weights]
            torch._foreach_lerp_(list(self.average.values()), weights, 1 - self.plan.ema)
        if self.place is not None and self.place.is_due():
            self._write([*done, terms])
        return terms

    def finished(self, done: list[dict[str, float]], early: bool) -> History:
        """Writes the last checkpoint, and leaves the average in the parameters."""
        if self.place is not None:
            self._write(done)
        with torch.no_grad():
            for one, mean in zip(self.weights, self.average.values(), strict=False):
                one.copy_(mean)
        return History(done, early)

    def _backward(self, step: int, number: int) -> dict[str, float]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.fast):
            given = self.loss(step, generator_of(self.seed, step, number))
        terms = given if isinstance(given, Mapping) else {"loss": given}
        (sum(terms.values()) / self.plan.micro_batches).backward()  # type: ignore[union-attr]
        return {name: float(term.detach()) for name, term in terms.items()}

    def _shared(self, terms: dict[str, float]) -> dict[str, float]:
        """Gradients summed over the processes, and the mean of their terms. A weight that none of the losses here
        depends on may have a gradient elsewhere."""
        here = torch.tensor([float(one.grad is not None) for one in self.weights], device=self.device)
        for one, anywhere in zip(self.weights, reduce(here, "sum").tolist(), strict=True):
            if anywhere:
                one.grad = reduce(torch.zeros_like(one) if one.grad is None else one.grad, "sum")
        mean = reduce(torch.tensor(list(terms.values()), dtype=torch.float64, device=self.device), "mean")
        return dict(zip(terms, mean.tolist(), strict=True))

    def _norm(self) -> Tensor:
        return nn.utils.get_total_norm([one.grad for one in self.weights if one.grad is not None])

    def _pile_up(self) -> None:
        """Every gradient becomes the sum of those of all steps so far."""
        for name, one in zip(self.names, self.weights, strict=True):
            if one.grad is not None:
                self.pile[name] = self.pile[name] + one.grad if name in self.pile else one.grad.clone()
                one.grad.copy_(self.pile[name])

    def _check_finite(self, terms: dict[str, float], norm: Tensor, step: int, done: list[dict[str, float]]) -> None:
        if math.isfinite(sum(terms.values())) and bool(norm.isfinite()):
            return
        kept = ""
        if self.place is not None:
            self._write(done)
            kept = f" What was trained in {step} steps is kept in {self.folder}."
        shown = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
        raise WorkbenchError(
            f"The loss of training step {step} is {shown}, the norm of its gradient {float(norm):.3g}.{kept}",
            "Choose a smaller learning rate.",
        )

    def _write(self, done: list[dict[str, float]]) -> None:
        assert self.place is not None and self.folder is not None
        if self.state.is_main_process and self.saved != len(done):
            kinds: dict[str, Mapping[str, Tensor]] = {
                WEIGHT: dict(zip(self.names, self.weights, strict=True)),
                AVERAGE: self.average,
                PILE: self.pile,
            }
            tensors = {f"{kind}.{name}": one for kind, named in kinds.items() for name, one in named.items()}
            tensors |= checkpoints.optimiser_tensors(self.optimiser)
            seconds = time.monotonic() - self.began
            checkpoints.write_checkpoint(self.folder, len(done), tensors, terms=done, seconds=seconds)
        self.saved = len(done)
        self.place.wrote()


def rates(plan: Plan) -> Callable[[int], float]:
    """The learning rate of each step, by diffusers' schedule of this name."""
    name = "constant_with_warmup" if plan.schedule == "constant" and plan.warmup else plan.schedule
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=plan.lr)
    factor = get_scheduler(
        name, idle, num_warmup_steps=plan.warmup, num_training_steps=plan.steps, num_cycles=plan.cycles
    ).lr_lambdas[0]
    return lambda step: plan.lr * factor(step)


def _mean(all_terms: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in all_terms) / len(all_terms) for name in all_terms[0]}


def _shown(done: list[dict[str, float]]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in done[-1].items()) if done else ""


@contextmanager
def _asking_for_gradients(trained: list[nn.Parameter]) -> Iterator[None]:
    before = [parameter.requires_grad for parameter in trained]
    try:
        for parameter in trained:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, wanted in zip(trained, before, strict=True):
            parameter.requires_grad_(wanted)
            parameter.grad = None
