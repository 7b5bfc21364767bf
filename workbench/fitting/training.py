"""The training loop of all methods that fine-tune: AdamW on named parameters, the same result for the same seed however
many processes share the work, and after any kill.

A step sums the gradients of `micro_batches` losses. Each is drawn from a generator of its own, made from (seed, step,
number of the micro-batch), so that no step depends on how much another one drew, nor on torch's own generator, nor on
which process computes it. Under `accelerate launch` the processes share the micro-batches of a step and add up their
gradients; the denoiser itself is not wrapped, so that losses may call a model as they like.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.fitting import checkpoints
from workbench.precision import fast_dtype

Terms = Mapping[str, Tensor]
Loss = Callable[[int, torch.Generator], Tensor | Terms]  # (step from 0, generator) → a scalar, or terms to be summed
AVERAGE, WEIGHT = "average", "weight"
WINDOW = 20  # steps whose mean loss decides whether a training still improves


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how fast, and with what.

    `schedule` is one of diffusers' ("constant", "cosine", "cosine_with_restarts", "linear", …) with `warmup` steps and
    `cycles` restarts. `weight_decay=0` makes AdamW Adam. `clip` is the largest norm that the gradient of all parameters
    together may have. `ema` keeps a moving average with this decay, which is what comes out. `patience` stops when the
    mean loss of `WINDOW` steps has had no new minimum for so many steps. `autocast` computes losses in bfloat16 while
    the weights stay in float32: "measured" where that is faster here. `keep_gradients` never zeroes the gradients, so
    that every step goes along the sum of all so far: the slip of TRCE's official code.
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
            if stops_early([sum(one.values()) for one in done], plan.patience):
                return run.finished(done, early=True)
            done.append(run.step(step, done))
        return run.finished(done, early=False)


def check(parameters: Mapping[str, nn.Parameter], plan: Plan) -> None:
    """Raises `WorkbenchError` for what cannot be trained; for those who want to know before they begin."""
    if not parameters:
        raise WorkbenchError("There is no parameter to train.", "Choose other ones.")
    check_precision(parameters.values())
    processes = PartialState().num_processes
    if plan.micro_batches % processes:
        raise WorkbenchError(
            f"{processes} processes cannot share {plan.micro_batches} micro-batches a step.",
            "Give the method a multiple of the number of processes, or start fewer.",
        )


def check_precision(parameters: Any) -> None:
    """Raises `WorkbenchError` for weights in half precision."""
    if any(torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise WorkbenchError("Weights in half precision cannot be fine-tuned.", "Load the model in torch.float32.")


def generator_of(seed: int, step: int, micro_batch: int = 0) -> torch.Generator:
    """A CPU generator of its own for this micro-batch of this step."""
    entropy = [seed, step, micro_batch] if micro_batch else [seed, step]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def stops_early(losses: list[float], patience: int | None) -> bool:
    """Whether the mean loss of the last `WINDOW` steps has had no new minimum for `patience` steps."""
    if patience is None or len(losses) < WINDOW + patience:
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
        self.state, self.device = PartialState(), self.weights[0].device
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=plan.lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay
        )
        self.rate = rates(plan)
        self.average = [one.detach().clone() for one in self.weights] if plan.ema is not None else []
        self.place = checkpoints.place()
        self.folder: Path | None = None
        if self.place is not None:
            first = {name: _sum_of(one) for name, one in parameters.items()}
            self.folder = self.place.of([label, asdict(plan), seed, what, first])

    def resumed(self) -> list[dict[str, float]]:
        """The terms of the steps that a checkpoint holds, whose state it takes over; empty without one."""
        found = checkpoints.read_checkpoint(self.folder, "terms") if self.folder else None
        if found is None:
            return []
        facts, tensors = found
        with torch.no_grad():
            for kind, own in ((WEIGHT, self.weights), (AVERAGE, self.average)):
                for name, one in zip(self.names, own, strict=False):
                    one.copy_(tensors[f"{kind}.{name}"])
        checkpoints.restore_optimiser(self.optimiser, tensors)
        return facts["terms"]

    def step(self, step: int, done: list[dict[str, float]]) -> dict[str, float]:
        """One step, and a checkpoint if one is due. Gives the terms of the loss before it."""
        self.optimiser.param_groups[0]["lr"] = self.rate(step)
        if not self.plan.keep_gradients:
            self.optimiser.zero_grad()
        share = range(self.state.process_index, self.plan.micro_batches, self.state.num_processes)
        terms = _mean([self._backward(step, number) for number in share])
        if self.state.num_processes > 1:
            terms = self._reduced(terms)
        norm = nn.utils.get_total_norm([one.grad for one in self.weights if one.grad is not None])
        self._check_finite(terms, norm, step, done)
        if self.plan.clip is not None:
            nn.utils.clip_grads_with_norm_(self.weights, self.plan.clip, norm)
        self.optimiser.step()
        if self.plan.ema is not None:
            torch._foreach_lerp_(self.average, [one.detach() for one in self.weights], 1 - self.plan.ema)
        if self.place is not None and self.place.is_due():
            self._write([*done, terms])
        return terms

    def finished(self, done: list[dict[str, float]], early: bool) -> History:
        """Writes the last checkpoint, and leaves the average in the parameters."""
        if self.place is not None:
            self._write(done)
        with torch.no_grad():
            for one, mean in zip(self.weights, self.average, strict=False):
                one.copy_(mean)
        return History(done, early)

    def _backward(self, step: int, number: int) -> dict[str, float]:
        dtype = {"no": torch.float32, "bfloat16": torch.bfloat16}.get(self.plan.autocast) or fast_dtype(
            self.device.type
        )
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            given = self.loss(step, generator_of(self.seed, step, number))
        terms = given if isinstance(given, Mapping) else {"loss": given}
        (sum(terms.values()) / self.plan.micro_batches).backward()  # type: ignore[union-attr]
        return {name: float(term.detach()) for name, term in terms.items()}

    def _reduced(self, terms: dict[str, float]) -> dict[str, float]:
        """Gradients summed over the processes, and the mean of their terms."""
        for one in self.weights:
            if one.grad is not None:
                one.grad = reduce(one.grad, "sum")
        shared = reduce(torch.tensor(list(terms.values()), device=self.device), "mean")
        return dict(zip(terms, shared.tolist(), strict=True))

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
        if self.state.is_main_process:
            tensors: dict[str, Tensor] = {}
            for kind, own in ((WEIGHT, self.weights), (AVERAGE, self.average)):
                tensors |= {f"{kind}.{name}": one for name, one in zip(self.names, own, strict=False)}
            tensors |= checkpoints.optimiser_tensors(self.optimiser)
            checkpoints.write_checkpoint(self.folder, len(done), tensors, terms=done)
        self.place.wrote()


def rates(plan: Plan) -> Callable[[int], float]:
    """The learning rate of each step, by diffusers' schedule of this name."""
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=plan.lr)
    factor = get_scheduler(
        plan.schedule, idle, num_warmup_steps=plan.warmup, num_training_steps=plan.steps, num_cycles=plan.cycles
    ).lr_lambdas[0]
    return lambda step: plan.lr * factor(step)


def _mean(all_terms: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in all_terms) / len(all_terms) for name in all_terms[0]}


def _sum_of(parameter: nn.Parameter) -> list[float]:
    """Two numbers that another parameter hardly shares: sum and norm."""
    values = parameter.detach().double()
    return [float(values.sum()), float(values.norm())]


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
