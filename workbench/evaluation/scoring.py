"""Looks at images once: a judge scores them, and their distance from the unedited ones is measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from probes.statistics import pixel_drift
from saes.progress import SILENT, Progress
from workbench.evaluation.judges import Judge, JudgeSpec, Scores, checked
from workbench.evaluation.runs import Run, StoredImage
from workbench.evaluation.spec import Cell

BATCH = 64  # images read and scored at a time
KEPT = 1 << 30  # bytes of unedited pixels that are kept, to be compared with; those beyond are decoded again


@dataclass(frozen=True)
class Look:
    """What is known of one image, whoever looks: the seconds that it took, the bytes of its file, and its distance
    from the unedited image (root mean square of the pixels, 0 to 1)."""

    seconds: float
    bytes: int
    pixel_drift: float


@dataclass
class Scored:
    """What is known of images of a run that a judge has seen, by cell key."""

    run: Run
    judge: Judge
    present: dict[str, np.ndarray] = field(default_factory=dict)
    intact: dict[str, bool] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    _unedited: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spec = JudgeSpec.of(self.judge)

    def of(self, keys: Sequence[str]) -> Scores:
        """The scores of some images, in the order of their keys."""
        present = np.stack([self.present[key] for key in keys])
        intact = np.array([self.intact[key] for key in keys], dtype=bool) if self.intact else None
        features = np.stack([self.features[key] for key in keys]) if self.features else None
        return Scores(present, intact, features, [self.answers[key] for key in keys] if self.answers else None)

    def look(self, cells: Sequence[Cell], images: Sequence[StoredImage]) -> None:
        """Scores images while their pixels are at hand, and measures how far they are from the unedited ones.

        Args:
            cells: What the images are. The unedited image of each must exist.
            images: Their pixels, in the same order.
        """
        pixels, prompts = np.stack([image.pixels for image in images]), [one.prompt for one in cells]
        scores = checked(self.judge.score(pixels, prompts), self.spec, len(cells))
        self.know([one.key for one in cells], scores)
        for one, image in zip(cells, images, strict=True):
            self._keep(one, image.pixels)
            if one.key not in self.looks:
                self.looks[one.key] = Look(image.seconds, image.bytes, self._drift(one, image.pixels))

    def know(self, keys: Sequence[str], scores: Scores) -> None:
        """Takes scores of images by their keys."""
        self.present.update(zip(keys, scores.present, strict=True))
        if scores.intact is not None:
            self.intact.update(zip(keys, map(bool, scores.intact), strict=True))
        if scores.features is not None:
            self.features.update(zip(keys, scores.features, strict=True))
        if scores.answers is not None:
            self.answers.update(zip(keys, scores.answers, strict=True))

    def read(self, cells: Iterable[Cell], progress: Progress = SILENT) -> None:
        """Looks at those of these images that were not seen yet, each decoded once. Unedited images come first."""
        todo = [
            one
            for one in {one.key: one for one in cells}.values()
            if not (one.key in self.present and one.key in self.looks)
        ]
        for start in progress(range(0, len(todo), BATCH), "judge") if todo else ():
            batch = todo[start : start + BATCH]
            self.look(batch, [self.run.read_image(one.key) for one in batch])

    def _keep(self, one: Cell, pixels: np.ndarray) -> None:
        if one.key == one.unedited and (len(self._unedited) + 1) * pixels.nbytes <= KEPT:
            self._unedited[one.key] = pixels

    def _drift(self, one: Cell, pixels: np.ndarray) -> float:
        if one.key == one.unedited:
            return 0.0
        before = self._unedited.get(one.unedited)
        before = self.run.read_image(one.unedited).pixels if before is None else before
        return float(pixel_drift(before[None], pixels[None])[0])
