"""The records of a run: a row for each suite, condition and row of the suite, as one judge sees the image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from probes.statistics import feature_drift
from saes.errors import WorkbenchError
from workbench.evaluation.judged import Judged, read_looks
from workbench.evaluation.judges import JudgeSpec, Scores, shown, verdicts
from workbench.evaluation.roles import Role
from workbench.evaluation.spec import Row, RunSpec, Trial

SCORE = "score."  # prefix of the columns that hold one concept's score
COLUMNS = {  # of records, beside one float32 column `score.<concept>` for each concept the judge knows
    "model": "str", "suite": "str", "concept": "str", "condition": "str", "method": "str", "edit": "str",
    "row": "int64", "prompt": "str", "role": "str", "expected": "str", "seed": "int64", "image": "str",
    "bytes": "int64", "seconds": "float64", "judge": "str", "judge_version": "str", "shown": "bool", "verdict": "str",
    "intact": "boolean", "pixel_drift": "float64", "feature_drift": "float64",
}  # fmt: skip


def image_path(key: str) -> str:
    """Where the image of a cell is or will be, below the folder of the run."""
    return f"images/{key[:2]}/{key}.png"


def records(run_dir: Path, spec: RunSpec, judged: Judged) -> pd.DataFrame:
    """The records of a finished run.

    Args:
        run_dir: Its folder.
        spec: What it was asked for.
        judged: What the judge said.

    Returns:
        The columns `COLUMNS` and one `score.<concept>` for each concept of the judge. `intact` is missing where the
        judge does not tell, `feature_drift` NaN where it has no features.

    Raises:
        WorkbenchError: Images of the run were not judged, or what was said of them is damaged.
    """
    images, scores = judged.by_image()
    looks = read_looks(run_dir).set_index("image")
    seen = _Seen({key: place for place, key in enumerate(images)}, scores, looks, judged.spec)
    parts = [_part(spec, seen, trial, name) for trial in spec.trials for name in trial.conditions]
    return pd.concat(parts, ignore_index=True)


class _Seen:
    """Everything about the images of a run, by their keys."""

    def __init__(self, places: Mapping[str, int], scores: Scores, looks: pd.DataFrame, judge: JudgeSpec) -> None:
        self._places, self._scores, self._looks, self.judge = places, scores, looks, judge

    def scores(self, keys: Sequence[str]) -> Scores:
        unknown = [key for key in keys if key not in self._places or key not in self._looks.index]
        if unknown:
            raise WorkbenchError(
                f"The image {unknown[0]} was not judged by {self.judge.name}.", "Judge the run again: workbench judge."
            )
        places = [self._places[key] for key in keys]
        present, intact, features, _ = self._scores
        return Scores(
            present[places],
            None if intact is None else intact[places],
            None if features is None else features[places],
        )

    def looks(self, keys: Sequence[str]) -> pd.DataFrame:
        return self._looks.loc[list(keys)]


def _part(spec: RunSpec, seen: _Seen, trial: Trial, condition: str) -> pd.DataFrame:
    rows, edits, judge = trial.rows_of(condition), trial.edits_of(condition).values(), seen.judge
    cells = [spec.cell(edit, row) for edit, row in zip(edits, rows.values(), strict=True)]
    keys = [one.key for one in cells]
    scores, before, looks = seen.scores(keys), seen.scores([one.unedited for one in cells]), seen.looks(keys)
    table: dict[str, Any] = {
        "model": spec.model.name, "suite": trial.suite, "concept": trial.concept, "condition": condition,
        "method": [edit.method if edit else "" for edit in edits], "edit": [one.edit for one in cells],
        "row": list(rows),
        **{name: [getattr(row, name) for row in rows.values()] for name in ("prompt", "role", "expected", "seed")},
        "image": [image_path(key) for key in keys],
        "bytes": looks["bytes"].to_numpy(), "seconds": looks["seconds"].to_numpy(),
        "judge": judge.name, "judge_version": judge.version,
        "shown": _shown(scores, judge, list(rows.values()), spec.roles_by_name),
        "verdict": verdicts(scores, judge, trial.concept, trial.anchor),
        "intact": pd.NA if scores.intact is None else scores.intact, "pixel_drift": looks["pixel_drift"].to_numpy(),
        "feature_drift": _drift(before, scores),
    }  # fmt: skip
    table |= {SCORE + concept: scores.present[:, i] for i, concept in enumerate(judge.concepts)}
    return pd.DataFrame(table).astype(COLUMNS)


def _drift(before: Scores, after: Scores) -> Any:
    if before.features is None or after.features is None:
        return np.nan
    return feature_drift(before.features, after.features)


def _shown(scores: Scores, judge: JudgeSpec, rows: Sequence[Row], roles: Mapping[str, Role]) -> Bool[np.ndarray, "n"]:
    """Whether each row's image shows what the row expects; a concept to be spared only in an intact picture."""
    expected = np.array([row.expected for row in rows])
    spared = np.array([roles[row.role].wanted == "present" for row in rows])
    result = np.zeros(len(rows), dtype=bool)
    for concept in dict.fromkeys(expected.tolist()):
        anyhow, intact = (shown(scores, judge, concept, intact_only=only) for only in (False, True))
        result = np.where(expected == concept, np.where(spared, intact, anyhow), result)
    return result
