"""Where a training stands, on disk: tensors in one file, and a JSON that names it, so that a kill in between leaves
the previous checkpoint valid.

    with resumable("out/fox.partial"):
        edit = ESD().fit(model, [fox])     # killed and started again, it goes on where it stood
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from saes.disk import read_json, read_tensors, write_json, write_tensors
from saes.leftovers import contents

NAME, OPTIMISER = "checkpoint.json", "optimiser"
DIGITS = 20  # of the hash that names the folder of a training
SECONDS = 30.0
SPARING = 20  # a checkpoint takes at most this part of the time until the next


@dataclass
class Place:
    """A folder of checkpoints, one folder a training in it.

    Each is written when `seconds` have passed since the last, or `SPARING` times what the last one took if that is
    longer; with 0 seconds after every turn. `regained` are the seconds of earlier runs that trainings did not have to
    repeat.
    """

    folder: Path
    seconds: float
    written: float = field(default_factory=time.monotonic)
    regained: float = 0.0
    took: float = 0.0

    def of(self, training: Any) -> Path:
        """The folder of one training: another one never goes on from its checkpoints.

        Args:
            training: All that names it, as JSON says it.

        Returns:
            A folder below `folder`, there or not.
        """
        return self.folder / hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()[:DIGITS]

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint.

        Returns:
            True once the wait since the last one is over; always where `seconds` is 0.
        """
        wait = max(self.seconds, SPARING * self.took) if self.seconds else 0.0
        return time.monotonic() - self.written >= wait

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the writing of a checkpoint: the time until the next one starts after it."""
        began = time.monotonic()
        yield
        self.written = time.monotonic()
        self.took = self.written - began


_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)


@contextmanager
def resumable(folder: Path | str, *, seconds: float | None = None) -> Iterator[Place]:
    """Trainings of methods in this block keep checkpoints and go on from those of the same training: same method,
    settings, concepts, model and seed. One that is interrupted (SIGINT, or SIGTERM in the program `workbench`) writes
    a last one. The weights that come out are those of a training without interruption; on the CPU, bit for bit.

    Args:
        folder: Where checkpoints are kept. It is made with the first and stays; whoever has saved what came out removes
            it.
        seconds: The least time between two checkpoints, 0 or more; `SECONDS` if left out.

    Yields:
        The place, which says how many seconds were regained.
    """
    here = Place(Path(folder), SECONDS if seconds is None else seconds)
    token = _PLACE.set(here)
    try:
        yield here
    finally:
        _PLACE.reset(token)


def forget(folder: Path) -> None:
    """Removes the checkpoints in a folder, and the folder if there is nothing else in it.

    Args:
        folder: What `resumable` was given, or a place where there is nothing.
    """
    for name in contents(folder):
        if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", name):
            rmtree(folder / name)
    if folder.is_dir() and not contents(folder):
        rmtree(folder)


def place() -> Place | None:
    """Where trainings keep their checkpoints now.

    Returns:
        The place of the innermost `resumable` block, None outside of all.
    """
    return _PLACE.get()


def write_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """Writes a checkpoint in place of the one before it.

    Args:
        folder: That of the training.
        step: Steps that are done.
        tensors: The state, by name, of any shape and device.
        **facts: What JSON can say.

    Raises:
        WorkbenchError: The files cannot be written; the checkpoint before it is then still valid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"checkpoint-{step}.safetensors"
    write_tensors(folder / name, {key: tensor.detach().contiguous() for key, tensor in tensors.items()})
    write_json(folder / NAME, {"step": step, "file": name, **facts})
    for old in (*folder.glob("checkpoint-*.safetensors"), *folder.glob(".checkpoint-*.part")):  # .part: of a kill
        if old.name != name:
            old.unlink()


def read_checkpoint(folder: Path, *facts: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Reads what `write_checkpoint` wrote.

    Args:
        folder: That of the training.
        *facts: The names of what it was told beside step and tensors.

    Returns:
        {"step", "file", *facts} and the tensors, on the CPU; None if there is no checkpoint.

    Raises:
        WorkbenchError: A file is damaged or of another version.
    """
    if not (folder / NAME).exists():
        return None
    found = read_json(folder / NAME, ("step", "file", *facts))
    return found, read_tensors(folder / found["file"])


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """What an optimiser knows beside its settings.

    Args:
        optimiser: One whose state is tensors, as Adam's is.

    Returns:
        "optimiser.<number of the parameter>.<name>" → tensor; empty before the first step.
    """
    state = optimiser.state_dict()["state"]
    return {f"{OPTIMISER}.{index}.{key}": value for index, one in state.items() for key, value in one.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser its state back.

    Args:
        optimiser: One of the same kind over the same parameters.
        tensors: Those of `optimiser_tensors`, whatever else is among them.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{OPTIMISER}."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def hash_of(tensor: Tensor) -> str:
    """Names a tensor by its numbers.

    Args:
        tensor: Of any shape, type and device.

    Returns:
        SHA-256 of its bytes, 64 hexadecimal digits.
    """
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(content.data).hexdigest()
