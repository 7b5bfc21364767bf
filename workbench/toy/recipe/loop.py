"""The training loop that all small models share: measured precision, moving average, checkpoints without pickle.

A batch is drawn from the step number, not from a stream, so a run that was killed goes on with the batches that it
would have seen.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.fitting.checkpoints import optimiser_tensors, read_checkpoint, restore_optimiser, write_checkpoint
from workbench.precision import fast_dtype

Loss = Callable[[nn.Module, int, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast. The rate rises over `warmup` steps, stays, and falls to a fiftieth over the last `decay`
    share."""

    steps: int
    lr: float
    warmup: int = 100
    decay: float = 0.3
    ema: float = 0.999
    weight_decay: float = 0.01
    checkpoint_seconds: float = 120.0

    def rate(self, step: int) -> float:
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return self.lr * min(1.0, (step + 1) / self.warmup) * max(0.02, fall)


def fit(
    module: nn.Module, loss: Loss, folder: Path, schedule: Schedule, progress: Progress = SILENT, seed: int = 0
) -> nn.Module:
    """Trains `module` in place and returns it holding its moving average.

    `loss(module, step, generator)` gives named terms whose sum is minimised; `seed` decides what it draws. Resumes from
    `folder`, where it also writes `log.jsonl` (a line every 50 steps).
    """
    device = next(module.parameters()).device
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay, fused=True)
    average = {name: value.detach().float().clone() for name, value in module.state_dict().items()}
    start = resume(folder, module, optimiser, average)
    saved = time.monotonic()
    for step in progress(range(start, schedule.steps), folder.name):
        terms = one_step(module, loss, optimiser, step, schedule, device, seed)
        update(average, module, min(schedule.ema, (step + 1) / (step + 10)))
        if step % 50 == 0:
            note(folder, step, terms, optimiser)
        if time.monotonic() - saved > schedule.checkpoint_seconds:
            checkpoint(folder, step + 1, module, optimiser, average)
            saved = time.monotonic()
    if start < schedule.steps:
        checkpoint(folder, schedule.steps, module, optimiser, average)
    module.load_state_dict({k: v.to(module.state_dict()[k].dtype) for k, v in average.items()})
    return module.eval()


def one_step(
    module: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, step: int, schedule: Schedule,
    device: torch.device, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    module.train()
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate(step)
    generator = torch.Generator().manual_seed(seed * 2**32 + step)
    with torch.autocast(device.type, dtype=fast_dtype(device.type), enabled=fast_dtype(device.type) != torch.float32):
        with sdpa_kernel(SDPBackend.MATH):  # the CPU's fused attention is five times slower backwards in bfloat16
            terms = loss(module, step, generator)
        total = torch.stack(list(terms.values())).sum()
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimiser.step()
    return {name: float(term.detach()) for name, term in terms.items()}


@torch.no_grad()
def update(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    """Moves the average towards the weights; integer buffers are copied."""
    state = module.state_dict()
    floats = [name for name in average if state[name].is_floating_point()]
    torch._foreach_lerp_([average[name] for name in floats], [state[name].float() for name in floats], 1 - decay)
    for name in average.keys() - set(floats):
        average[name].copy_(state[name])


def note(folder: Path, step: int, terms: dict[str, float], optimiser: torch.optim.Optimizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    line = {"step": step, "seconds": round(time.time(), 1), "lr": optimiser.param_groups[0]["lr"], **terms}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def checkpoint(
    folder: Path, step: int, module: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor]
) -> None:
    """Module, average and optimiser after `step` steps."""
    tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    write_checkpoint(folder, step, tensors | optimiser_tensors(optimiser))


def averaged(folder: Path) -> dict[str, Tensor]:
    """The moving average of the last checkpoint, as a state dict. Raises `WorkbenchError` if there is none."""
    found = read_checkpoint(folder)
    if found is None:
        raise WorkbenchError(f"{folder} holds no checkpoint.", "Train that part first.")
    return {k.removeprefix("average."): v for k, v in found[1].items() if k.startswith("average.")}


def resume(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
    """Restores the last checkpoint, if any, and returns the step to go on with."""
    found = read_checkpoint(folder)
    if found is None:
        return 0
    facts, tensors = found
    module.load_state_dict({k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")})
    for name in average:
        average[name].copy_(tensors[f"average.{name}"])
    restore_optimiser(optimiser, tensors)
    return facts["step"]
