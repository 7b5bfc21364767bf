"""The run folder: what was asked for, the images, and a row about each of them.

    run.json          everything needed to repeat the run: model, settings, trials, edits, environment
    edits/<hash>/     each edit as `Edit.save` wrote it
    fits/<key>.json   what a comparison fitted, and how long it took
    images/??/<key>.png   lossless; the text fields of the file say what it is and how long it took
    records.parquet   a row an image with the judge's scores; its metadata names the judge

An image that exists is finished: it was renamed into place whole. That is all the bookkeeping there is, hence a killed
run goes on where it stopped and judging again makes no image.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from saes.disk import read_json, replacing, write_json
from saes.errors import WorkbenchError, unknown_name
from saes.leftovers import contents
from workbench.evaluation.spec import FORMAT, Cell, RunSpec, listed_parts

if TYPE_CHECKING:
    from workbench.models import Model

BEFORE = {"edits", "fits", "unfinished"}  # what a comparison puts into a folder before it is a run
SCORE = "score."  # prefix of the columns that hold one concept's score
COLUMNS = {  # of records.parquet, beside one float32 column `score.<concept>` for each concept the judge knows
    "model": "str", "suite": "str", "concept": "str", "condition": "str", "method": "str", "edit": "str",
    "row": "int64", "prompt": "str", "role": "str", "expected": "str", "seed": "int64", "image": "str",
    "bytes": "int64", "seconds": "float64", "judge": "str", "judge_version": "str", "threshold": "float64",
    "shown": "bool", "verdict": "str", "intact": "bool", "pixel_drift": "float64", "feature_drift": "float64",
}  # fmt: skip


class StoredImage(NamedTuple):
    """An image `[h, w, 3]` with the seconds its generation took and the bytes of its file."""

    pixels: np.ndarray
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Run:
    """A run folder. `begin` makes or continues one, `open` reads one."""

    dir: Path
    spec: RunSpec

    @classmethod
    def begin(cls, dir: Path | str, spec: RunSpec) -> "Run":
        """Makes the folder, or continues the one that asks for the same images; any other is refused."""
        dir = Path(dir)
        if not (dir / "run.json").exists():
            if contents(dir) - BEFORE:
                raise WorkbenchError(f"{dir} holds other files and is no run.", "Choose a new or an empty folder.")
            write_json(dir / "run.json", spec.model_dump(mode="json"))
            return cls(dir, spec)
        run = cls.open(dir)
        if difference := run.spec.difference(spec):
            raise WorkbenchError(
                f"{dir} holds another run ({difference}).",
                "Choose another folder, or repeat that run's settings to continue it.",
            )
        return run

    @classmethod
    def open(cls, dir: Path | str) -> "Run":
        """Opens a run, finished or not. Raises `WorkbenchError` if it is none or has unknown fields."""
        path = Path(dir) / "run.json"
        if not path.is_file():
            raise WorkbenchError(f"{dir} is not a run folder: it has no run.json.", "List yours: workbench runs.")
        content = read_json(path)
        _check_format(path, content)
        try:
            return cls(Path(dir), RunSpec.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise WorkbenchError(f"{path}: {where}: {first['msg']}.", "Make the run again with this version.") from None

    def check_model(self, model: "Model") -> None:
        """Raises `WorkbenchError` unless the model is, as it is now, the one that made this run."""
        if parts := model.identity.differences(self.spec.model.identity):
            raise WorkbenchError(
                f"The run {self.dir} was made by another model than {model.name}: {listed_parts(parts)}.",
                f"Take the model as it was then (it was called {self.spec.model.name}).",
            )

    def image_path(self, key: str) -> Path:
        """Where the image of a cell is or will be."""
        return self.dir / "images" / key[:2] / f"{key}.png"

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells without an image, each once, in their order."""
        return [c for c in {c.key: c for c in cells}.values() if not self.image_path(c.key).exists()]

    def write_image(self, cell: Cell, pixels: UInt8[np.ndarray, "h w 3"], seconds: float) -> StoredImage:
        """Stores the image of a cell; `seconds` is its share of the time its batch took."""
        text, path, seconds = PngImagePlugin.PngInfo(), self.image_path(cell.key), round(seconds, 6)
        about = {"key": cell.key, "edit": cell.edit, "prompt": cell.prompt, "seed": cell.seed}
        for name, value in {**about, "seconds": seconds}.items():
            text.add_itxt(name, str(value))
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary, format="png", pnginfo=text)
        return StoredImage(pixels, seconds, path.stat().st_size)

    def read_image(self, key: str) -> StoredImage:
        """Reads the image of a cell; one that is absent or damaged is named in the error."""
        path = self.image_path(key)
        try:
            with Image.open(path) as image:
                return StoredImage(np.array(image), float(image.info["seconds"]), path.stat().st_size)
        except FileNotFoundError:
            problem = f"{self.dir} lacks the image {path.name}: the run is not finished."
        except (OSError, SyntaxError, KeyError, ValueError):  # what Pillow raises for the many ways of being damaged
            problem = f"{path} is damaged."
            raise WorkbenchError(problem, "Delete this file and evaluate again: only it is made anew.") from None
        raise WorkbenchError(problem, "Evaluate again with the same settings and folder: it goes on where it stopped.")

    def images(
        self, condition: str, concept: str | None = None, suite: str | None = None
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """The images of a condition in the order of its records, of one concept or suite or of all."""
        return self.pictures(self.rows(condition, concept, suite))

    def rows(self, condition: str, concept: str | None = None, suite: str | None = None) -> pd.DataFrame:
        """The records of a condition, of one concept or suite or of all. Unknown names are errors."""
        records = self.records()
        wanted = {"condition": condition, "concept": concept, "suite": suite}
        for column, name in wanted.items():
            if name is not None and name not in set(records[column]):
                raise unknown_name(column, name, set(records[column]))
            records = records if name is None else records[records[column] == name]
        return records

    def pictures(self, records: pd.DataFrame) -> UInt8[np.ndarray, "n h w 3"]:
        """The images of some records, in their order."""
        return np.stack([self.read_image(Path(image).stem).pixels for image in records["image"]])

    def write_records(self, records: pd.DataFrame, judge: Mapping[str, Any]) -> None:
        """Replaces the records. `judge` is JSON about the judge, with the mapping `concepts` (name → kind)."""
        _check_columns(self.dir / "records.parquet", list(records.columns), judge)
        table = pa.Table.from_pandas(records, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"judge": json.dumps(judge).encode()})
        with replacing(self.dir / "records.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def records(self) -> pd.DataFrame:
        """A row an image, with the columns `COLUMNS` and one `score.<concept>` for each concept of the judge."""
        table = self._table()
        _check_columns(self.dir / "records.parquet", table.column_names, _judge(table))
        return table.to_pandas()

    @property
    def judge(self) -> dict[str, Any]:
        """Name, version, threshold and concepts (name → kind) of the judge of the present records."""
        return _judge(self._table())

    def _table(self) -> pa.Table:
        path = self.dir / "records.parquet"
        if not path.is_file():
            raise WorkbenchError(
                f"{self.dir} has no records yet: the run is not finished.",
                "Evaluate again with the same settings and folder: it goes on where it stopped.",
            )
        try:
            return pq.read_table(path)
        except (pa.ArrowException, OSError):
            raise WorkbenchError(
                f"{path} is truncated or damaged.", "Judge the run again: its images are kept."
            ) from None


def _judge(table: pa.Table) -> dict[str, Any]:
    return json.loads((table.schema.metadata or {}).get(b"judge", b'{"concepts": {}}'))


def _check_columns(path: Path, columns: Sequence[str], judge: Mapping[str, Any]) -> None:
    valid = [*COLUMNS, *(SCORE + concept for concept in judge["concepts"])]
    for column in columns:
        if column not in valid:
            error = unknown_name("column", column, valid)
            raise WorkbenchError(f"{path}: {error.problem}", error.remedy)
    for column in valid:
        if column not in set(columns):
            raise WorkbenchError(f"{path} lacks the column {column!r}.", "Judge the run again with this version.")


def _check_format(path: Path, content: Any) -> None:
    """Raises `WorkbenchError` for a run of another version, whose images have other names."""
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise WorkbenchError(
            f"{path} is of another version ({found}, where this one reads “{FORMAT}”).",
            "Its images and edits can still be looked at and loaded; evaluate the edits again into a new folder.",
        )
