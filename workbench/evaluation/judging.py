"""From images to records: a judge scores each image once, and every row of every trial is filled in from that.

No model is needed, so a run can be judged again, by another judge or at another threshold, in seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from probes.statistics import feature_drift, pixel_drift
from saes.progress import SILENT, Progress
from workbench.evaluation.judges import Judge, Scores, check_knows, shown, verdicts
from workbench.evaluation.roles import Role
from workbench.evaluation.runs import COLUMNS, SCORE, Run, StoredImage
from workbench.evaluation.spec import Cell, EditSpec, Row, Trial

BATCH = 64  # images read and scored at a time
KEPT = 1 << 30  # bytes of unedited pixels that are kept, to be compared with; those beyond are decoded again


@dataclass
class Scored:
    """What is known of the images of a run that a judge has seen, by cell key."""

    run: Run
    judge: Judge
    present: dict[str, np.ndarray] = field(default_factory=dict)
    intact: dict[str, bool] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)
    _unedited: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, keys: Sequence[str]) -> Scores:
        """The scores of some images, in the order of their keys."""
        present, features = (np.stack([of[key] for key in keys]) for of in (self.present, self.features))
        return Scores(present, np.array([self.intact[key] for key in keys], dtype=bool), features)

    def look(self, cells: Sequence[Cell], images: Sequence[StoredImage]) -> None:
        """Scores images while their pixels are at hand, and measures how far they are from the unedited ones.

        Args:
            cells: What the images are. The unedited image of each must exist.
            images: Their pixels, in the same order.
        """
        scores = self.judge.score(np.stack([image.pixels for image in images]))
        keys = [one.key for one in cells]
        self.present.update(zip(keys, np.asarray(scores.present, np.float32), strict=True))
        self.features.update(zip(keys, np.asarray(scores.features, np.float32), strict=True))
        self.intact.update(zip(keys, map(bool, scores.intact), strict=True))
        for one, image in zip(cells, images, strict=True):
            self.seconds[one.key], self.bytes[one.key] = image.seconds, image.bytes
            self._keep(one, image.pixels)
            self.drift[one.key] = self._drift(one, image.pixels)

    def read(self, cells: Iterable[Cell], progress: Progress = SILENT) -> None:
        """Looks at those of these images that were not seen yet, each decoded once. Unedited images come first."""
        todo = [one for one in {one.key: one for one in cells}.values() if one.key not in self.intact]
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


def rejudge(run: Run, judge: Judge, *, progress: Progress = SILENT) -> Run:
    """Replaces the records of a run by those of this judge. Every image must exist; none is made."""
    for trial in run.spec.trials:
        check_knows(judge, [trial.concept, trial.anchor, *(row.expected for row in trial.rows)])
    scored = Scored(run, judge)
    scored.read(run.spec.cells(), progress)
    write_records(scored)
    return run


def write_records(scored: Scored) -> None:
    """Writes the records of a run from the scores of all its images."""
    run, judge = scored.run, scored.judge
    parts = [
        _records(scored, trial, name, edit) for trial in run.spec.trials for name, edit in trial.conditions.items()
    ]
    about = {"name": judge.name, "version": judge.version, "threshold": judge.threshold}
    run.write_records(pd.concat(parts, ignore_index=True), {**about, "concepts": dict(judge.concepts)})


def _records(scored: Scored, trial: Trial, condition: str, edit: EditSpec | None) -> pd.DataFrame:
    run, judge, rows = scored.run, scored.judge, trial.rows_of(condition)
    cells = [run.spec.cell(edit, row) for row in rows.values()]
    keys, before = [one.key for one in cells], [one.unedited for one in cells]
    scores = scored.of(keys)
    table: dict[str, Any] = {
        "model": run.spec.model.name, "suite": trial.suite, "concept": trial.concept, "condition": condition,
        "method": edit.method if edit else "", "edit": edit.hash if edit else "", "row": list(rows),
        **{name: [getattr(row, name) for row in rows.values()] for name in ("prompt", "role", "expected", "seed")},
        "image": [str(run.image_path(key).relative_to(run.dir)) for key in keys],
        "bytes": [scored.bytes[key] for key in keys], "seconds": [scored.seconds[key] for key in keys],
        "judge": judge.name, "judge_version": judge.version, "threshold": judge.threshold,
        "shown": _shown(scores, judge, list(rows.values()), run.spec.roles_by_name),
        "verdict": verdicts(scores, judge, trial.concept, trial.anchor), "intact": scores.intact,
        "pixel_drift": [scored.drift[key] for key in keys],
        "feature_drift": feature_drift(scored.of(before).features, scores.features),
    }  # fmt: skip
    table |= {SCORE + concept: scores.present[:, i] for i, concept in enumerate(judge.concepts)}
    return pd.DataFrame(table).astype(COLUMNS)


def _shown(scores: Scores, judge: Judge, rows: Sequence[Row], roles: dict[str, Role]) -> np.ndarray:
    """Whether each row's image shows what the row expects; a concept to be spared only in an intact picture."""
    result = np.zeros(len(rows), dtype=bool)
    for index, row in enumerate(rows):
        one = Scores(*(part[index : index + 1] for part in scores))
        result[index] = shown(one, judge, row.expected, intact_only=roles[row.role].wanted == "present")[0]
    return result
