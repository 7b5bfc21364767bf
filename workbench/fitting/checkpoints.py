"""Where a training stands, on disk: tensors in one file, and a JSON that names it, so that a kill in between leaves
the previous checkpoint valid.

    with resumable("out/fox.partial"):
        edit = ESD().fit(model, [fox])     # killed and started again, it goes on where it stood
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from saes.disk import read_json, read_tensors, write_json, write_tensors

NAME, OPTIMISER = "checkpoint.json", "optimiser"
SECONDS = 30.0


@dataclass
class Place:
    """A folder of checkpoints, one folder a training in it, each written when `seconds` have passed since the last.

    `regained` are the seconds of earlier runs that trainings did not have to repeat.
    """

    folder: Path
    seconds: float
    written: float = field(default_factory=time.monotonic)
    regained: float = 0.0

    def of(self, training: Any) -> Path:
        """The folder of the training that this JSON describes: another one never goes on from its checkpoints."""
        return self.folder / hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()[:20]

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self.written >= self.seconds

    def wrote(self) -> None:
        """Starts the time until the next one."""
        self.written = time.monotonic()


_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)


@contextmanager
def resumable(folder: Path | str, *, seconds: float | None = None) -> Iterator[Place]:
    """Trainings of methods in this block keep checkpoints in the folder, at most one in `seconds` (else `SECONDS`), and
    go on from those of the same training: same method, settings, concepts, model and seed. The folder stays; whoever
    has saved what came out removes it.

    The weights that come out are those of a training without interruption; on the CPU, bit for bit.
    """
    here = Place(Path(folder), SECONDS if seconds is None else seconds)
    token = _PLACE.set(here)
    try:
        yield here
    finally:
        _PLACE.reset(token)


def place() -> Place | None:
    """Where trainings keep their checkpoints now, None outside `resumable`."""
    return _PLACE.get()


def write_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """State after `step` steps, in place of the checkpoint before it. `facts` are what JSON can say."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"checkpoint-{step}.safetensors"
    write_tensors(folder / name, {key: tensor.detach().contiguous() for key, tensor in tensors.items()})
    write_json(folder / NAME, {"step": step, "file": name, **facts})
    for old in (*folder.glob("checkpoint-*.safetensors"), *folder.glob(".checkpoint-*.part")):  # .part: of a kill
        if old.name != name:
            old.unlink()


def read_checkpoint(folder: Path, *facts: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What `write_checkpoint` wrote: {"step", "file", *facts} and the tensors; None if there is no checkpoint."""
    if not (folder / NAME).exists():
        return None
    found = read_json(folder / NAME, ("step", "file", *facts))
    return found, read_tensors(folder / found["file"])


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by flat names; its settings are not in it."""
    state = optimiser.state_dict()["state"]
    return {f"{OPTIMISER}.{index}.{key}": value for index, one in state.items() for key, value in one.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Takes the state back from a checkpoint's tensors, whatever else is among them."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{OPTIMISER}."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def hash_of(tensor: Tensor) -> str:
    """SHA-256 of the numbers of a tensor."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(content.data).hexdigest()
