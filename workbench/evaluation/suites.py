"""Suites: prompts with a role and a seed, read from and written to the CSV lists that published protocols use.

The columns `case_number, prompt, evaluation_seed` are those of the lists of ESD, UCE, MACE and UnlearnDiffAtk; the
workbench adds `role` and `expected`. Prompts that may involve a minor never enter a suite, whatever list they are from.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from saes.disk import read_text, replacing
from saes.errors import WorkbenchError, unknown_name

ABOUT_THE_TARGET = ("target", "synonym", "implied")  # the concept that is erased, named, paraphrased, or only meant
ABOUT_OTHERS = ("neighbour", "unrelated")  # what should survive
ROLES = ABOUT_THE_TARGET + ABOUT_OTHERS

_OWN_COLUMNS = ("case_number", "prompt", "evaluation_seed", "role", "expected")
_PUBLISHED_COLUMNS = (  # of I2P, MACE, UnlearnDiffAtk and COCO lists: known, of no use here
    "", "Unnamed: 0", "artist", "categories", "class", "coco_id", "concept", "evaluation_guidance", "file_name",
    "hard", "image_id", "inappropriate_percentage", "lexica_url", "model", "nudity_percentage", "prompt_toxicity",
    "q16_percentage", "sd_guidance_scale", "sd_image_height", "sd_image_width", "sd_model", "sd_safety_percentage",
    "sd_seed", "source", "type",
)  # fmt: skip
_MINOR = re.compile(
    r"\b(child(ren|hood|like)?|kids?|kiddo|boys?|girls?|school(boy|girl)s?|teen(s|age|aged|ager|agers)?|pre-?teens?"
    r"|adolescents?|toddlers?|bab(y|ies)|infants?|newborns?|minors?|under-?aged?|juveniles?|youths?|lolis?|lolita|shotas?"
    r"|kindergart\w*|pre-?school\w*|elementary school\w*|([0-9]|1[0-7])[ -]?(years?|yrs?|y\.?o))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SuiteRow:
    """One image to ask for. `expected` names the concept that the unedited model should show, "" for none known."""

    prompt: str
    role: str
    expected: str
    seed: int

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise unknown_name("role", self.role, ROLES)


@dataclass(frozen=True)
class Suite:
    """Rows about one concept to be erased. `anchor` is the concept that may take its place, "" if none is named.

    Refused: no rows, the same prompt and seed twice, two targets, and prompts that may involve a minor
    (`adults_only` leaves them out; `dropped` then counts them, and reports say so).
    """

    name: str
    rows: tuple[SuiteRow, ...]
    anchor: str = ""
    dropped: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise WorkbenchError(f"The suite {self.name!r} has no prompts.", "Give it at least one row.")
        if len(self.targets) > 1:
            raise WorkbenchError(
                f"The suite {self.name!r} has several targets ({', '.join(self.targets)}).", "Make one suite for each."
            )
        if len({(row.prompt, row.role, row.seed) for row in self.rows}) < len(self.rows):
            raise WorkbenchError(
                f"The suite {self.name!r} asks for an image twice.", "Vary the seeds of equal prompts."
            )
        if len(adults_only(self.rows)) < len(self.rows):
            raise WorkbenchError(
                f"The suite {self.name!r} has prompts that may involve a minor.", "Leave them out with `adults_only`."
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The concepts that the rows about the target expect."""
        return tuple(dict.fromkeys(row.expected for row in self.rows if row.role in ABOUT_THE_TARGET))

    @property
    def target(self) -> str:
        """The concept to be erased; the suite's own name if no row is about it."""
        return self.targets[0] if self.targets else self.name

    @property
    def concepts(self) -> tuple[str, ...]:
        """Every concept that the suite names: the target, the anchor, and what its rows expect ("" is none)."""
        return tuple(dict.fromkeys([self.target, self.anchor, *(row.expected for row in self.rows)]))


def adults_only(rows: Iterable[SuiteRow]) -> tuple[SuiteRow, ...]:
    """The rows whose prompts cannot be about a minor. In doubt a row is left out: a word filter, on purpose blunt."""
    return tuple(row for row in rows if not _MINOR.search(row.prompt))


def read_suite(path: Path | str, *, target: str = "", anchor: str = "") -> Suite:
    """Reads a CSV with the columns `prompt` and `evaluation_seed`, the suite named after the file.

    Without a `role` column all rows are about the `target`; without an `expected` column they expect it.
    Prompts that may involve a minor are left out and counted. Unknown columns, an empty file, and seeds that are no
    whole numbers are errors.
    """
    path = Path(path)
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    _check_columns(path, tuple(reader.fieldnames or ()), target)
    rows = [_row(path, record, target) for record in reader]
    kept = adults_only(rows)
    if not kept:
        left = f"has no prompts{' left after the filter' if rows else ''}"
        raise WorkbenchError(f"{path} {left}.", "Give it at least one row.")
    return Suite(path.stem, kept, anchor, dropped=len(rows) - len(kept))


def write_suite(suite: Suite, path: Path | str) -> None:
    """Writes the suite as CSV, in the order of its rows."""
    with replacing(Path(path)) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_OWN_COLUMNS)
        writer.writerows(
            (number, row.prompt, row.seed, row.role, row.expected) for number, row in enumerate(suite.rows)
        )


def _check_columns(path: Path, columns: tuple[str, ...], target: str) -> None:
    for column in columns:
        if column not in _OWN_COLUMNS + _PUBLISHED_COLUMNS:
            error = unknown_name("column", column, _OWN_COLUMNS)
            raise WorkbenchError(f"{path}: {error.problem}", error.remedy)
    for column in ("prompt", "evaluation_seed"):
        if column not in columns:
            raise WorkbenchError(f"{path} lacks the column {column!r}.", "Add it; the first line names the columns.")
    if "expected" not in columns and not target:
        raise WorkbenchError(
            f"{path} does not say what its prompts show.", "Name the target, or add a column 'expected'."
        )


def _row(path: Path, record: dict[str, str], target: str) -> SuiteRow:
    try:
        seed = int(record["evaluation_seed"])
    except (TypeError, ValueError):
        raise WorkbenchError(
            f"{path}: {record['evaluation_seed']!r} is no seed (prompt {record['prompt']!r}).", "Use whole numbers."
        ) from None
    return SuiteRow(record["prompt"], record.get("role") or "target", record.get("expected", target), seed)
