"""What is known of a run's images, in its folder: facts that nobody judges, and what each judge said, side by side.

    images.parquet                          a row an image: edit, seconds, bytes, pixel_drift
    judges/<n>-<key>/judge.json             which judge; n counts them
    judges/<n>-<key>/scores.parquet         a row an image and concept: image, judge, version, concept, score
    judges/<n>-<key>/features.npy           if the judge has features: [images, d], by the order of the images' keys
    judges/<n>-<key>/answers.parquet        if the judge answers in words: a row an image: image, answer

Judging again adds a folder, and never changes another.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from saes.disk import new_folder, read_json, replacing, write_json
from saes.errors import WorkbenchError, unknown_name
from workbench.evaluation.judges import JudgeSpec, Scores

IMAGES, JUDGES = "images.parquet", "judges"
LOOKS = {"image": "str", "edit": "str", "seconds": "float64", "bytes": "int64", "pixel_drift": "float64"}
ANSWERS = {"image": "str", "answer": "str"}
SCORES = {"image": "str", "judge": "str", "version": "str", "concept": "str", "score": "float32"}
INTACT = "(intact)"  # in the place of a concept: 1 for a picture, 0 for a broken one; absent if the judge does not tell
_SPEC, _SCORES, _FEATURES, _ANSWERS = "judge.json", "scores.parquet", "features.npy", "answers.parquet"


class Judged(NamedTuple):
    """A judge of a run and the folder of what it said."""

    spec: JudgeSpec
    folder: Path

    def table(self) -> pd.DataFrame:
        """The long table, with the columns `SCORES`."""
        return _table(self.folder / _SCORES, SCORES, _again(self.folder))

    def by_image(self) -> tuple[list[str], Scores]:
        """The images that it looked at, and its scores of them."""
        wide = self.table().pivot(index="image", columns="concept", values="score").sort_index()
        intact = wide[INTACT].to_numpy() > 0 if INTACT in wide else None
        present = wide[list(self.spec.concepts)].to_numpy(np.float32)
        answers = self.answers()
        words = None if answers is None else [answers[image] for image in wide.index]
        return list(wide.index), Scores(present, intact, self._features(), words)

    def answers(self) -> dict[str, str] | None:
        """What it wrote of each image, None from a judge that does not answer in words."""
        path = self.folder / _ANSWERS
        if not path.exists():
            return None
        table = _table(path, ANSWERS, _again(self.folder))
        return dict(zip(table["image"], table["answer"], strict=True))

    def _features(self) -> np.ndarray | None:
        path = self.folder / _FEATURES
        if not path.exists():
            return None
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            raise WorkbenchError(f"{path} is truncated or damaged.", _again(self.folder)) from None


def judges_of(run_dir: Path) -> dict[str, Judged]:
    """The judges of a run, in the order in which they came, by their names; those of one name also by their keys."""
    folders = [path for path in (run_dir / JUDGES).glob("*-*") if not path.name.startswith(".")]
    listed = [Judged(_spec(path / _SPEC), path) for path in sorted(folders, key=lambda path: (_number(path), path))]
    found = list({one.spec.key: one for one in reversed(listed)}.values())[::-1]  # of equal ones the first
    names = [one.spec.name for one in found]
    return {
        one.spec.name if names.count(one.spec.name) == 1 else f"{one.spec.name} ({one.spec.key})": one for one in found
    }


def judged_by(run_dir: Path, judge: str = "") -> Judged:
    """One judge of a run, the first if none is named.

    Raises:
        WorkbenchError: Nobody has judged the run yet, or the name is none of its judges', with the nearest.
    """
    found = judges_of(run_dir)
    if not found:
        raise WorkbenchError(
            f"{run_dir} has not been judged yet: the run is not finished.",
            "Evaluate again with the same settings and folder: it goes on where it stopped.",
        )
    if judge and judge not in found:
        raise unknown_name(f"judge of {run_dir}", judge, found)
    return found[judge or next(iter(found))]


def add_judge(run_dir: Path, spec: JudgeSpec, images: Sequence[str], scores: Scores) -> None:
    """Adds what a judge says of the images of a run, unless the same is there already.

    Args:
        run_dir: Folder of the run.
        spec: The judge.
        images: Keys of the images, in the order of the scores.
        scores: Its scores.
    """
    known = judges_of(run_dir).values()
    if _knows(run_dir, spec):
        return
    order = np.argsort(images)
    names = [images[place] for place in order]
    parts = [_long(spec, names, name, scores.present[order, i]) for i, name in enumerate(spec.concepts)]
    if scores.intact is not None:
        parts.append(_long(spec, names, INTACT, scores.intact[order]))
    number = 1 + max((_number(one.folder) for one in known), default=0)
    try:
        with new_folder(run_dir / JUDGES / f"{number}-{spec.key}") as folder:
            write_json(folder / _SPEC, spec.model_dump(mode="json"))
            _write(folder / _SCORES, pd.concat(parts, ignore_index=True), SCORES)
            if scores.features is not None:
                np.save(folder / _FEATURES, scores.features[order], allow_pickle=False)
            if scores.answers is not None:
                said = pd.DataFrame({"image": names, "answer": [scores.answers[place] for place in order]})
                _write(folder / _ANSWERS, said, ANSWERS)
    except WorkbenchError:
        if not _knows(run_dir, spec):  # another process was faster
            raise


def _knows(run_dir: Path, spec: JudgeSpec) -> bool:
    return any(one.spec.key == spec.key for one in judges_of(run_dir).values())


def write_looks(run_dir: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes the facts of all images of a run: rows with the keys of `LOOKS`."""
    _write(run_dir / IMAGES, pd.DataFrame(rows, columns=list(LOOKS)), LOOKS)


def read_looks(run_dir: Path) -> pd.DataFrame:
    """The facts of the images, with the columns `LOOKS`; none before the run is finished."""
    path = run_dir / IMAGES
    if not path.exists():
        return pd.DataFrame(columns=list(LOOKS)).astype(LOOKS)
    return _table(path, LOOKS, _again(path))


def _long(spec: JudgeSpec, images: Sequence[str], concept: str, scores: np.ndarray) -> pd.DataFrame:
    about = {"judge": spec.name, "version": spec.version, "concept": concept}
    return pd.DataFrame({"image": images, **about, "score": scores.astype(np.float32)})


def _spec(path: Path) -> JudgeSpec:
    try:
        return JudgeSpec.model_validate(read_json(path, JudgeSpec.model_fields))
    except ValidationError as error:
        raise WorkbenchError(f"{path}: {error.errors()[0]['msg']}.", _again(path.parent)) from None


def _again(folder: Path) -> str:
    return f"Remove {folder} and judge the run again: its images are kept."


def _number(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _write(path: Path, table: pd.DataFrame, columns: Mapping[str, str]) -> None:
    content = pa.Table.from_pandas(table.astype(dict(columns)), preserve_index=False)
    with replacing(path) as temporary:
        pq.write_table(content, temporary, compression="zstd")


def _table(path: Path, columns: Mapping[str, str], remedy: str) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise WorkbenchError(f"{path} is truncated or damaged.", remedy) from None
    for column in table.column_names:
        if column not in columns:
            raise WorkbenchError(f"{path}: {unknown_name('column', column, columns).problem}", remedy)
    for column in columns:
        if column not in table.column_names:
            raise WorkbenchError(f"{path} lacks the column {column!r}.", remedy)
    return table.to_pandas()
