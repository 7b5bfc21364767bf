"""What the conformance checks look at: the whole state of a model, its progress reports, and another process."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from saes.errors import WorkbenchError
from workbench.models import Model
from workbench.models.images import Images

Item = TypeVar("Item")
_SCRIPT = """
import json
import sys

import numpy as np
import workbench as wb

answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    name, edit, out, prompts, sampling, sys.path[:] = json.loads(line)
    try:
        model = wb.load(name, device="cpu")
        with model.edited(wb.load_edit(edit)):
            np.save(out, model.generate(prompts, range(len(prompts)), **sampling))
        print("done", file=answers, flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\\n", " "), file=answers, flush=True)
"""


def state_of(model: Model) -> dict[str, str]:
    """A hash of every tensor of the pipeline, and which modules have hooks, train, or ask for gradients."""
    parts = {name: part for name, part in model.pipe.components.items() if isinstance(part, nn.Module)}
    state = {}
    for name, part in parts.items():
        for key, tensor in part.state_dict().items():
            content = tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            state[f"{name}.{key}"] = hashlib.sha256(content).hexdigest()
        for key, module in part.named_modules():
            hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
            wanted = sum(parameter.requires_grad for parameter in module.parameters(recurse=False))
            state[f"{name}.{key} ({type(module).__name__})"] = f"{hooks} hooks, {wanted} gradients, {module.training}"
    return state


@dataclass
class Watch:
    """A `Progress` that counts what it is told."""

    items: int = 0
    labels: list[str] = field(default_factory=list)

    def __call__(
        self, items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
    ) -> Iterator[Item]:
        self.labels.append(label)
        for item in items:
            self.items += 1
            yield item


@cache
def _other_process() -> "subprocess.Popen[str]":
    """A fresh Python that answers one question after another and ends with this one: a start takes seconds."""
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


def images_in_another_process(
    model: Model, edit_dir: Path, prompts: Sequence[str], sampling: Mapping[str, Any]
) -> Images:
    """The images of a saved edit, made by a Python that loads model and edit by their names; seeds 0, 1, …

    That Python serves all questions of this process; it has seen none of the objects that made the edit, and looks for
    packages where this one does.

    Raises:
        WorkbenchError: The other process could not load or use the edit.
    """
    out = edit_dir.with_name(f"{edit_dir.name}-images.npy")
    other = _other_process()
    assert other.stdin is not None and other.stdout is not None
    question = [model.name, str(edit_dir.absolute()), str(out.absolute()), list(prompts), dict(sampling), sys.path]
    print(json.dumps(question), file=other.stdin, flush=True)
    answer = other.stdout.readline().strip()
    if not answer:
        _other_process.cache_clear()
    if answer != "done":
        raise WorkbenchError(
            f"Another process could not use the edit ({answer or 'it ended'}).",
            "Check that `workbench.load` opens the model by its name alone.",
        )
    return np.load(out)
