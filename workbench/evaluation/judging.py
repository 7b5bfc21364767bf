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
from workbench.evaluation.runs import COLUMNS, SCORE, EditSpec, Run, Trial, cell
from workbench.evaluation.suites import ABOUT_THE_TARGET

BATCH = 64  # images scored at a time


@dataclass
class Scored:
    """What is known of the images scored so far, by cell key."""

    present: dict[str, np.ndarray] = field(default_factory=dict)
    intact: dict[str, bool] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def of(self, keys: Sequence[str]) -> Scores:
        """The scores of some images, in the order of their keys."""
        present, features = (np.stack([of[key] for key in keys]) for of in (self.present, self.features))
        return Scores(present, np.array([self.intact[key] for key in keys], dtype=bool), features)


def score_images(
    run: Run, keys: Iterable[str], judge: Judge, scored: Scored | None = None, progress: Progress = SILENT
) -> Scored:
    """Scores the images of these cells, each once, and adds them to `scored`."""
    scored = Scored() if scored is None else scored
    todo = [key for key in dict.fromkeys(keys) if key not in scored.intact]
    for start in progress(range(0, len(todo), BATCH), "judge"):
        batch = todo[start : start + BATCH]
        images = [run.read_image(key) for key in batch]
        scores = judge.score(np.stack([image.pixels for image in images]))
        present, features = np.asarray(scores.present, np.float32), np.asarray(scores.features, np.float32)
        scored.present.update(zip(batch, present, strict=True))
        scored.features.update(zip(batch, features, strict=True))
        scored.intact.update(zip(batch, map(bool, scores.intact), strict=True))
        scored.seconds.update({key: image.seconds for key, image in zip(batch, images, strict=True)})
        scored.bytes.update({key: image.bytes for key, image in zip(batch, images, strict=True)})
    return scored


def rejudge(run: Run, judge: Judge, *, progress: Progress = SILENT) -> Run:
    """Replaces the records of a run by those of this judge. Every image must exist; none is made."""
    for trial in run.spec.trials:
        check_knows(judge, [trial.concept, trial.anchor, *(row.expected for row in trial.rows)])
    keys = [key for trial in run.spec.trials for edit in trial.conditions.values() for key in _keys(run, trial, edit)]
    write_records(run, judge, score_images(run, keys, judge, progress=progress))
    return run


def write_records(run: Run, judge: Judge, scored: Scored) -> None:
    """Writes the records of a run from the scores of all its images."""
    parts = [
        _records(run, judge, scored, trial, name, edit)
        for trial in run.spec.trials
        for name, edit in trial.conditions.items()
    ]
    about = {"name": judge.name, "version": judge.version, "threshold": judge.threshold}
    run.write_records(pd.concat(parts, ignore_index=True), {**about, "concepts": dict(judge.concepts)})


def _keys(run: Run, trial: Trial, edit: EditSpec | None) -> list[str]:
    return [cell(run.spec.model, run.spec.sampling, edit, row.prompt, row.seed).key for row in trial.rows]


def _records(
    run: Run, judge: Judge, scored: Scored, trial: Trial, condition: str, edit: EditSpec | None
) -> pd.DataFrame:
    keys, before = _keys(run, trial, edit), _keys(run, trial, None)
    scores = scored.of(keys)
    table: dict[str, Any] = {
        "model": run.spec.model.name, "concept": trial.concept, "condition": condition,
        "method": edit.method if edit else "", "edit": edit.hash if edit else "", "suite": trial.suite,
        **{name: [getattr(row, name) for row in trial.rows] for name in ("prompt", "role", "expected", "seed")},
        "image": [str(run.image_path(key).relative_to(run.dir)) for key in keys],
        "bytes": [scored.bytes[key] for key in keys], "seconds": [scored.seconds[key] for key in keys],
        "judge": judge.name, "judge_version": judge.version, "threshold": judge.threshold,
        "shown": _shown(scores, judge, trial),
        "verdict": verdicts(scores, judge, trial.concept, trial.anchor), "intact": scores.intact,
        "pixel_drift": [_pixel_drift(run, a, b) for a, b in zip(before, keys, strict=True)],
        "feature_drift": feature_drift(scored.of(before).features, scores.features),
    }  # fmt: skip
    table |= {SCORE + concept: scores.present[:, i] for i, concept in enumerate(judge.concepts)}
    return pd.DataFrame(table).astype(COLUMNS)


def _shown(scores: Scores, judge: Judge, trial: Trial) -> np.ndarray:
    """Whether each row's image shows what the row expects; other concepts than the target only in an intact picture."""
    result = np.zeros(len(trial.rows), dtype=bool)
    for index, row in enumerate(trial.rows):
        one = Scores(*(part[index : index + 1] for part in scores))
        result[index] = shown(one, judge, row.expected, intact_only=row.role not in ABOUT_THE_TARGET)[0]
    return result


def _pixel_drift(run: Run, before: str, after: str) -> float:
    if before == after:
        return 0.0
    images = (run.read_image(key).pixels[None] for key in (before, after))
    return float(pixel_drift(*images)[0])
