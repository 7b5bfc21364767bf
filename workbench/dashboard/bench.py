"""The bench at work: pictures without and with changes, at equal prompts and seeds, beside a control."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from saes.progress import Progress
from workbench.dashboard.changes import Request, edit_of
from workbench.dashboard.filling import Filling
from workbench.dashboard.jobs import Jobs
from workbench.dashboard.library import Library

if TYPE_CHECKING:
    from workbench.edits import Edit
    from workbench.models import Model

BEFORE, AFTER, CONTROL = "before", "after", "other features"
BATCH = 4  # small, for the bar to move
KEPT = 512  # unedited pictures, which every change is compared with

Pictures = UInt8[np.ndarray, "n h w 3"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The pictures of each condition in the order of `request.pairs`, and the edit that made them."""

    request: Request
    edit: "Edit"
    pictures: Mapping[str, Pictures]

    def changes(self, condition: str) -> list[float]:
        """How far each picture is from the unedited one.

        Args:
            condition: A key of `pictures`.

        Returns:
            The mean over pixels of |difference|, in grey levels of 255, by picture.
        """
        return distances(self.pictures, condition)


@dataclass(frozen=True)
class Pair:
    """Two edits, by what they are called and where they are, on every prompt with every seed."""

    edits: tuple[tuple[str, Path], ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """The prompts and seeds of the pictures."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]


@dataclass(frozen=True, eq=False)
class Beside:
    """The pictures without an edit and with each of two, in the order of `request.pairs`."""

    request: Pair
    pictures: Mapping[str, Pictures]


def distances(pictures: Mapping[str, Pictures], condition: str) -> list[float]:
    """How far each picture of a condition is from the unedited one.

    Args:
        pictures: By condition, `BEFORE` among them.
        condition: One of them.

    Returns:
        The mean over pixels of |difference|, in grey levels of 255, by picture.
    """
    difference = pictures[condition].astype(float) - pictures[BEFORE]
    return np.abs(difference).mean(axis=(1, 2, 3)).tolist()


class Bench:
    """The one model of a dashboard, loaded when it is first needed, and the jobs that use it."""

    def __init__(self, library: Library, load: Callable[[], "Model"], pictures: int | None = None) -> None:
        """Begins nothing.

        Args:
            library: What the pages read.
            load: Gives the run's model.
            pictures: How many are drawn to look at features; None: all, or as many as somebody chooses.
        """
        self.library = library
        self.filling = Filling(library, lambda: self.model, pictures)
        self.jobs: Jobs[Any] = Jobs()
        self._load = load
        self._unedited: OrderedDict[tuple[str, int], Any] = OrderedDict()

    @cached_property
    def model(self) -> "Model":
        """The run's model. Raises `WorkbenchError` if what is loaded is another."""
        model = self._load()
        self.library.run.check_model(model)
        return model

    def fill(self) -> None:
        """Looks at the features that were not looked at yet, whenever no job waits."""
        self.jobs.behind(self.filling.step)

    def generate(self, request: Request, progress: Progress) -> Outcome:
        """Makes the pictures that a request asks for. Only the worker calls this, one request after the other.

        Args:
            request: What to make.
            progress: Shows the batches.

        Returns:
            The pictures of each condition.

        Raises:
            WorkbenchError: The model is another than the run's, or the edit does not fit it.
        """
        for model in progress([self], "loading the model"):
            edit = edit_of(self.library, model.model, request.changes)
        pictures = {
            BEFORE: self._before(request.pairs, progress),
            AFTER: self._with(edit, request.pairs, progress, AFTER),
        }
        if request.control:
            pictures[CONTROL] = self._with(edit.random(), request.pairs, progress, CONTROL)
        return Outcome(request, edit, pictures)

    def beside(self, request: Pair, progress: Progress) -> Beside:
        """Makes the pictures of two edits. Only the worker calls this.

        Args:
            request: Which, and of what.
            progress: Shows the batches.

        Returns:
            The pictures without an edit and with each.

        Raises:
            WorkbenchError: The model is another than the run's, or an edit does not fit it.
        """
        from workbench.edits import load_edit  # here, since this loads torch

        edits = {name: load_edit(path) for name, path in request.edits}
        pictures = {BEFORE: self._before(request.pairs, progress)}
        for name, edit in edits.items():
            pictures[name] = self._with(edit, request.pairs, progress, name)
        return Beside(request, pictures)

    def _before(self, pairs: Sequence[tuple[str, int]], progress: Progress) -> Pictures:
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self._unedited]
        if missing:
            made = self._made(missing, progress, BEFORE)
            self._unedited.update(zip(missing, made, strict=True))
        pictures = np.stack([self._unedited[pair] for pair in pairs])
        while len(self._unedited) > KEPT:
            self._unedited.popitem(last=False)
        return pictures

    def _with(self, edit: "Edit", pairs: Sequence[tuple[str, int]], progress: Progress, label: str) -> Pictures:
        with self.model.edited(edit):
            return self._made(pairs, progress, label)

    def _made(self, pairs: Sequence[tuple[str, int]], progress: Progress, label: str) -> Pictures:
        settings = self.library.run.spec.settings
        batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
        return np.concatenate(
            [
                self.model.generate([prompt for prompt, _ in batch], [seed for _, seed in batch], **settings)
                for batch in progress(batches, f"pictures {label}")
            ]
        )
