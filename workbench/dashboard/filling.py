"""Looks at the features that have no cache yet, a piece at a time, while the dashboard shows what is there.

Prompts come first: they are only encoded. Pictures are made batch by batch, with a cache to look at after 16, 64, 256 …
of them. Where all of them would take longer than `PATIENCE`, one picture is timed on few steps, and a person chooses.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saes.errors import WorkbenchError
from saes.progress import Progress
from workbench.dashboard.cache import FeatureCache
from workbench.dashboard.library import Library
from workbench.dashboard.opening import folder_of, lacking, stages
from workbench.settings import settled

if TYPE_CHECKING:
    from workbench.dashboard.passing import Pass
    from workbench.dashboard.prompts import Shown
    from workbench.models import Model

PATIENCE = 120.0  # seconds of drawing that are spent without asking
FEW = 3  # steps at which a picture is timed


@dataclass(frozen=True)
class Choice:
    """What has to be chosen: on how many pictures the features are looked at."""

    saes: tuple[str, ...]
    done: int  # pictures that they were looked at on already
    seconds: Mapping[int, float]  # what can be chosen, and how long a person waits for it
    each: float  # seconds of a picture
    bytes: int  # on the disk, of each look


@dataclass(frozen=True)
class Look:
    """How far the looking is: `share` in [0, 1] of the present pass, `left` its remaining seconds, if known."""

    message: str = ""
    share: float = 0.0
    left: float | None = None
    choice: Choice | None = None
    problem: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more without anyone's doing."""
        return not self.message


class Filling:
    """What is still to be looked at. One thread calls `step`; any may read `look` and call `choose`."""

    def __init__(self, library: Library, model: "Callable[[], Model]", pictures: int | None = None) -> None:
        """Begins nothing.

        Args:
            library: Gets each cache when it is there.
            model: Gives the run's model.
            pictures: How many are drawn at most; None: all if that is quick, and else as many as `choose` says.
        """
        self.library, self.pictures = library, pictures
        self._model = model
        self._pieces = self._work()
        self.look = Look("Loading the model.") if lacking(library, pictures) else Look()

    def choose(self, pictures: int) -> None:
        """Says how many pictures are drawn; `step` goes on.

        Args:
            pictures: 0 or more.
        """
        self.pictures = pictures

    def step(self) -> bool:
        """Does the next piece. What goes wrong is said in `look`.

        Returns:
            Whether another piece can follow at once.
        """
        try:
            next(self._pieces)
        except StopIteration:
            self.look = Look()
        except WorkbenchError as error:
            self.look = Look(problem=str(error))
        except Exception as error:  # the server must outlive whatever a model may raise
            logging.getLogger(__name__).exception("Looking at the features failed.")
            self.look = Look(problem=f"Looking at the features failed: {type(error).__name__}: {error}.")
        return not self.look.is_over and self.look.choice is None

    def finish(self, progress: Progress) -> None:
        """Does all of it at once.

        Args:
            progress: Shows the batches.

        Raises:
            WorkbenchError: The model is not the run's, or an SAE does not fit it.
        """
        for seen in self._passes():
            until = self._until(seen)
            label = f"features on {'pictures' if seen.draws else 'prompts'}"
            for _ in progress(self._see(seen, until), label, -(-until // seen.size)):
                pass

    def _work(self) -> Iterator[None]:
        if not lacking(self.library, self.pictures):
            return
        asking = self.pictures is None
        for seen in self._passes():
            yield from self._drawn(seen) if seen.draws and asking else self._see(seen, self._until(seen))

    def _passes(self) -> "list[Pass]":
        from workbench.dashboard.passing import passes  # here, since this loads torch

        model = self._model()
        self.library.run.check_model(model)
        wanted = lacking(self.library, self.pictures)
        return passes(model, wanted, self.library.prompts, self.library.run.spec.settings)

    def _until(self, seen: "Pass") -> int:
        n = len(self.library.prompts)
        return n if self.pictures is None or not seen.draws else min(self.pictures, n)

    def _drawn(self, seen: "Pass") -> Iterator[None]:
        """All pictures where they are quickly made; otherwise as many as somebody chooses, and then perhaps more."""
        names = tuple(source.name for source in seen.sites)
        self.look = Look(f"Timing a picture for {', '.join(names)}.")
        yield
        n = len(self.library.prompts)
        seconds = seconds_of(seen.model, seen.prompts[: seen.size], self.library.run.spec.settings)
        if seconds * n <= PATIENCE:
            yield from self._see(seen, n)
        size = sum(gatherer.bytes for gatherer in seen.gatherers.values())
        while seen.done < n:
            self.pictures = None
            known = max(seen.done, min(map(self._known, names)))
            offers = {m: (m - seen.done) * seconds for m in stages(n) if m > known}
            choice = Choice(names, known, offers, seconds, size)
            while self.pictures is None:
                self.look = Look("Waiting for a choice.", choice=choice)
                yield
            yield from self._see(seen, self._until(seen))

    def _see(self, seen: "Pass", until: int) -> Iterator[None]:
        """The batches up to a number of prompts, with a cache at each stage."""
        began, names = time.monotonic(), ", ".join(source.name for source in seen.sites)
        for stage in stages(until) if seen.draws and until else [until] * (until > 0):
            while seen.done < stage:
                what = f"{names} on {'pictures' if seen.draws else 'prompts'}: {seen.done:,} of {until:,}"
                left = (time.monotonic() - began) / seen.done * (until - seen.done) if seen.done else None
                self.look = Look(f"Looking at {what}", seen.done / until, left)
                seen.step(stage)
                yield
            self._publish(seen)

    def _known(self, sae: str) -> int:
        cache = self.library.caches.get(sae)
        return cache.about["n_prompts"] if cache else 0

    def _publish(self, seen: "Pass") -> None:
        from workbench.dashboard.building import write_cache  # here, since this loads torch

        for source in seen.sites:
            if self._known(source.name) < seen.done:
                folder = folder_of(self.library, source, seen.done)
                if not folder.exists():
                    write_cache(seen, source, self.library.concepts, folder)
                self.library.put(FeatureCache.open(source, folder))


def seconds_of(model: "Model", prompts: "Sequence[Shown]", settings: Mapping[str, Any]) -> float:
    """How long a picture takes, from few steps; a whole one where a model knows no steps.

    One alone is timed, and where that is quick a batch, of which each takes less.

    Args:
        model: As it is.
        prompts: A batch of what is drawn.
        settings: How.

    Returns:
        Seconds by the clock.
    """
    alone = _seconds(model, prompts[:1], settings)
    return min(alone, _seconds(model, prompts, settings)) if alone * len(prompts) <= PATIENCE / 4 else alone


def _seconds(model: "Model", prompts: "Sequence[Shown]", settings: Mapping[str, Any]) -> float:
    steps = settled(model.settings, settings).get("steps")
    if not isinstance(steps, int) or steps <= FEW:
        return _timed(model, prompts, settings)
    _timed(model, prompts, {**settings, "steps": 1})  # the first pass of a process is slower
    short, long = (_timed(model, prompts, {**settings, "steps": n}) for n in (1, FEW))
    return short + max(long - short, 0.0) / (FEW - 1) * (steps - 1)


def _timed(model: "Model", prompts: "Sequence[Shown]", settings: Mapping[str, Any]) -> float:
    began = time.perf_counter()
    model.generate([shown.prompt for shown in prompts], [shown.seed for shown in prompts], **settings)
    return (time.perf_counter() - began) / len(prompts)
