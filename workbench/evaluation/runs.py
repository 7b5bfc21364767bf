"""The run folder: what was asked for, the images, and what judges said of them.

    run.json          everything needed to repeat the run: model, settings, trials, edits, environment
    edits/<hash>/     each edit as `Edit.save` wrote it
    inputs/<hash>.safetensors   prompts that are no text
    fits/<key>.json   what a comparison fitted, and how long it took
    attempts/, attempts.parquet   what attacks came to: see `attacks.attempts`
    images/??/<key>.png   lossless; the text fields of the file say what it is and how long it took
    images.parquet, judges/   what is known of the images once they are all there: see `evaluation.judged`

An image that exists is finished: it was renamed into place whole. That is all the bookkeeping there is, hence a killed
run goes on where it stopped and judging again makes no image.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from saes.disk import read_json, replacing, write_json
from saes.errors import WorkbenchError, unknown_name
from saes.leftovers import contents
from workbench.evaluation.judged import judged_by, judges_of
from workbench.evaluation.judges import Judge, JudgeSpec
from workbench.evaluation.records import image_path, records
from workbench.evaluation.spec import FORMAT, Cell, RunSpec, listed_parts

if TYPE_CHECKING:
    from workbench.models import Model

BEFORE = {"attempts", "attempts.parquet", "edits", "fits", "inputs", "unfinished", "validated"}  # what a comparison
# or an attack puts into a folder before it is a run


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

    def __repr__(self) -> str:
        conditions = dict.fromkeys(name for trial in self.spec.trials for name in trial.conditions)
        concepts = dict.fromkeys(trial.concept for trial in self.spec.trials)
        about = f"{', '.join(concepts)} under {', '.join(conditions)}"
        return f"<Run {str(self.dir)!r}: {self.spec.model.name}, {about}>"

    def _repr_html_(self) -> str:
        head = "<tr><th>suite</th><th>concept</th><th>prompts</th><th>conditions</th></tr>"
        cells = "".join(
            f"<tr><td>{escape(trial.suite)}</td><td>{escape(trial.concept)}</td><td>{len(trial.rows)}</td>"
            f"<td>{escape(', '.join(trial.conditions))}</td></tr>"
            for trial in self.spec.trials
        )
        caption = f"{escape(str(self.dir))}: {escape(self.spec.model.name)}, {self.spec.started[:10]}"
        return f"<table><caption>{caption}</caption>{head}{cells}</table>"

    @classmethod
    def begin(cls, dir: Path | str, spec: RunSpec) -> "Run":
        """Makes the folder, or continues the one that asks for the same images; any other is refused."""
        dir = Path(dir)
        run = cls.of_place(dir)
        if run is None:
            write_json(dir / "run.json", spec.model_dump(mode="json"))
            return cls(dir, spec)
        if difference := run.spec.difference(spec):
            raise WorkbenchError(
                f"{dir} holds another run ({difference}).",
                "Choose another folder, or repeat that run's settings to continue it.",
            )
        return run

    @classmethod
    def of_place(cls, dir: Path | str) -> "Run | None":
        """The run in a folder, None if one can begin there. Raises `WorkbenchError` if the folder holds other files."""
        dir = Path(dir)
        if (dir / "run.json").exists():
            return cls.open(dir)
        if contents(dir) - BEFORE:
            raise WorkbenchError(f"{dir} holds other files and is no run.", "Choose a new or an empty folder.")
        return None

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
        return self.dir / image_path(key)

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

    def records(self, judge: str = "") -> pd.DataFrame:
        """A row for each suite, condition and row of it: see `evaluation.records`.

        Args:
            judge: A name of `judges`, the first if left out.

        Raises:
            WorkbenchError: The run is not finished, no such judge looked at it, or what it said is damaged.
        """
        return records(self.dir, self.spec, judged_by(self.dir, judge))

    @property
    def judges(self) -> dict[str, JudgeSpec]:
        """Who has judged the run, by name, in the order in which they came."""
        return {name: judged.spec for name, judged in judges_of(self.dir).items()}

    def name_of(self, judge: Judge) -> str:
        """The name by which the run knows a judge that looked at it.

        Raises:
            WorkbenchError: It did not.
        """
        spec = JudgeSpec.of(judge)
        found = [name for name, known in self.judges.items() if known.key == spec.key]
        if not found:
            raise WorkbenchError(f"{self.dir} was not judged by {spec.name}.", "Let it look: workbench judge.")
        return found[0]

    def scores(self) -> pd.DataFrame:
        """What all judges said: a row for each judge, image and concept, with the columns `judged.SCORES`.

        The concept `judged.INTACT` holds whether the picture is whole, 0 or 1.
        """
        return pd.concat([judged.table() for judged in judges_of(self.dir).values()], ignore_index=True)


def _check_format(path: Path, content: Any) -> None:
    """Raises `WorkbenchError` for a run of another version, whose images have other names."""
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise WorkbenchError(
            f"{path} is of another version ({found}, where this one reads “{FORMAT}”).",
            "Its images and edits can still be looked at and loaded; evaluate the edits again into a new folder.",
        )
