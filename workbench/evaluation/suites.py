"""Suites: prompts with a role and a seed, read from and written to the CSV lists that published protocols use.

The columns `case_number, prompt, evaluation_seed` are those of the lists of ESD, UCE, MACE and UnlearnDiffAtk; the
workbench adds `role` and `expected`, and `condition` where rows belong to one. Suites with prompts that are no text are
folders (`suite_folders`). Prompts that may involve a minor never enter a suite, whatever list they are from.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saes.disk import read_text, replacing
from saes.errors import WorkbenchError, unknown_name
from workbench.adults import may_involve_a_minor
from workbench.evaluation.roles import ROLES, Role, joined_roles

_COLUMNS = ("case_number", "prompt", "evaluation_seed", "role", "expected")
_OWN_COLUMNS = (*_COLUMNS, "condition")
_FOLDER_COLUMNS = (*_OWN_COLUMNS, "input")  # in a folder of a suite, beside what they name
_PUBLISHED_COLUMNS = (  # of I2P, MACE, UnlearnDiffAtk and COCO lists: known, of no use here
    "", "Unnamed: 0", "artist", "categories", "class", "coco_id", "concept", "evaluation_guidance", "file_name",
    "hard", "image_id", "inappropriate_percentage", "lexica_url", "model", "nudity_percentage", "prompt_toxicity",
    "q16_percentage", "sd_guidance_scale", "sd_image_height", "sd_image_width", "sd_model", "sd_safety_percentage",
    "sd_seed", "source", "type",
)  # fmt: skip
_ABOUT = "suite.json"  # in a folder that holds a suite
_SURPLUS = "surplus fields"  # where the reader puts what has no column
SEEDS = 2**63  # a seed is below


@dataclass(frozen=True)
class SuiteRow:
    """One image to ask for.

    Args:
        prompt: The prompt.
        role: A name of `ROLES`, or of the suite's own roles.
        expected: The concept that the unedited model should show, "" for none known.
        seed: The seed of the image, 0 to 2⁶³ − 1.
        condition: The only condition that makes this row beside the unedited model: a prompt that attacks one edit
            belongs to that edit. "" for all conditions.
        input: What the model is given in the place of the text, by its hash (`evaluation.inputs`): what an attack or a
            soft prompt is made of. "" where it is given the text.
        share: The share of the prompts to which it belongs where conditions have several fits: what attacks one fit is
            that fit's. None for a row that is dealt out (`workbench.evaluation.shares`).

    Raises:
        WorkbenchError: The seed is negative or too large.
    """

    prompt: str
    role: str
    expected: str
    seed: int
    condition: str = ""
    input: str = ""
    share: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEEDS:
            raise WorkbenchError(
                f"{self.seed} is no seed (prompt {self.prompt!r}).", "Use whole numbers from 0 to 2⁶³ − 1."
            )


@dataclass(frozen=True)
class Suite:
    """Rows about one concept to be erased.

    Args:
        name: What tables call it.
        rows: At least one; the same prompt, role, seed, condition and share only once.
        anchor: The concept that may take the target's place, "" if none is named.
        dropped: How many prompts `adults_only` left out, for reports to say so.
        roles: Roles of this suite's own, beside those of `ROLES`.
        inputs: The prompts that are no text, by the hashes that rows name: `{input_hash(prompt): prompt}`.
        tokenizers: Those that ids among the inputs are of (`input_checks.tokenizers_of(model)`), "" if nobody said.

    Raises:
        WorkbenchError: There are no rows, an input is missing, two rows are equal, there are several targets, roles are
            unknown, or prompts may involve a minor.
    """

    name: str
    rows: tuple[SuiteRow, ...]
    anchor: str = ""
    dropped: int = 0
    roles: tuple[Role, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tokenizers: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        for row in self.rows:
            if row.role not in self.known_roles:
                raise unknown_name("role", row.role, self.known_roles)
            if row.input and row.input not in self.inputs:
                raise unknown_name("input", row.input, self.inputs)
        self._check()

    def _check(self) -> None:
        if not self.rows:
            raise WorkbenchError(f"The suite {self.name!r} has no prompts.", "Give it at least one row.")
        if len(self.targets) > 1:
            raise WorkbenchError(
                f"The suite {self.name!r} has several targets ({', '.join(self.targets)}).",
                "Make one suite for each.",
            )
        keys = {(row.prompt, row.role, row.seed, row.condition, row.input, row.share) for row in self.rows}
        if len(keys) < len(self.rows):
            raise WorkbenchError(
                f"The suite {self.name!r} asks for an image twice.", "Vary the seeds of equal prompts."
            )
        if len(adults_only(self.rows)) < len(self.rows):
            raise WorkbenchError(
                f"The suite {self.name!r} has prompts that may involve a minor.", "Leave them out with `adults_only`."
            )

    @property
    def known_roles(self) -> Mapping[str, Role]:
        """Every role that a row may have, by name."""
        return joined_roles([*ROLES.values(), *self.roles])

    @property
    def targets(self) -> tuple[str, ...]:
        """The concepts that the rows about the target expect."""
        known = self.known_roles
        return tuple(dict.fromkeys(row.expected for row in self.rows if known[row.role].wanted == "absent"))

    @property
    def target(self) -> str:
        """The concept to be erased; the suite's own name if no row is about it."""
        return self.targets[0] if self.targets else self.name

    @property
    def concepts(self) -> tuple[str, ...]:
        """Every concept that the suite names: the target, the anchor, and what its rows expect ("" is none)."""
        return tuple(dict.fromkeys([self.target, self.anchor, *(row.expected for row in self.rows)]))


def adults_only(rows: Iterable[SuiteRow]) -> tuple[SuiteRow, ...]:
    """The rows whose prompts cannot be about a minor. In doubt a row is left out."""
    return tuple(row for row in rows if not may_involve_a_minor(row.prompt))


def read_suite(path: Path | str, *, target: str = "", anchor: str = "", roles: Sequence[Role] = ()) -> Suite:
    """Reads a suite: a list that is named after its file, or a folder.

    Args:
        path: A folder that `write_suite` made, or a CSV file in UTF-8 with the columns `prompt` and `evaluation_seed`.
            Without a column `role` all rows are about the target; without `expected` they expect it. The columns of
            published lists are known and passed over.
        target: The concept that the suite must be about, "" for whatever the file says.
        anchor: The concept that may take its place; a folder may name one itself.
        roles: Roles beside those of `ROLES` that the rows may have.

    Returns:
        The suite, without prompts that may involve a minor, which it counts.

    Raises:
        WorkbenchError: The file is no such list, has unknown columns, lines with more or fewer fields than columns,
            seeds that are no whole numbers, no prompts, or another target.
    """
    path = Path(path)
    suite = _folder(path, anchor) if (path / _ABOUT).is_file() else _list(path, target, anchor, roles)
    if target and suite.targets and suite.target != target:
        raise WorkbenchError(
            f"{path} is about {suite.target!r}, and not about {target!r}.", "Give the list of the erased concept."
        )
    return suite


def write_suite(suite: Suite, path: Path | str) -> None:
    """Writes the suite, in the order of its rows.

    Args:
        suite: The suite.
        path: A file that ends in .csv, which holds text, and none of the suite's own roles; any other path becomes a
            new folder, which holds everything.

    Raises:
        WorkbenchError: Some of its prompts are no text and the path is a list's, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        from workbench.evaluation.suite_folders import write_suite_folder

        return write_suite_folder(suite, path)
    if suite.inputs:
        raise WorkbenchError(
            f"The suite {suite.name!r} has prompts that are no text, and a list holds text.",
            f"Write it into a folder, such as {path.with_suffix('')}.",
        )
    write_rows(suite.rows, path, _OWN_COLUMNS if any(row.condition for row in suite.rows) else _COLUMNS)


def write_rows(rows: Iterable[SuiteRow], path: Path, columns: Sequence[str] = _FOLDER_COLUMNS) -> None:
    """Writes rows as CSV.

    Args:
        rows: The rows, in their order.
        path: The file.
        columns: The first ones of those of a folder's list.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number, row in enumerate(rows):
            fields = (number, row.prompt, row.seed, row.role, row.expected, row.condition, row.input)
            writer.writerow(fields[: len(columns)])


def read_rows(path: Path, target: str = "", known: Sequence[str] = _FOLDER_COLUMNS) -> list[SuiteRow]:
    """The rows of a list, those that may involve a minor included.

    Args:
        path: The file.
        target: What rows expect that do not say it.
        known: The columns that it may have. Only where an input may take its place, a prompt may be empty.

    Raises:
        WorkbenchError: As `read_suite`.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey=_SURPLUS)
    try:
        _check_columns(path, tuple(reader.fieldnames or ()), target, known)
        return [_row(path, reader.line_num, record, target, known) for record in reader]
    except csv.Error as error:
        raise WorkbenchError(f"{path} is no CSV file (line {reader.line_num}: {error}).", "Correct it.") from None


def _list(path: Path, target: str, anchor: str, roles: Sequence[Role]) -> Suite:
    rows = read_rows(path, target, _OWN_COLUMNS + _PUBLISHED_COLUMNS)
    kept = adults_only(rows)
    if not kept:
        left = f"has no prompts{' left after the filter' if rows else ''}"
        raise WorkbenchError(f"{path} {left}.", "Give it at least one row.")
    return Suite(path.stem, kept, anchor, dropped=len(rows) - len(kept), roles=tuple(roles))


def _folder(path: Path, anchor: str) -> Suite:
    from workbench.evaluation.suite_folders import read_suite_folder  # which needs torch for what is no text

    suite = read_suite_folder(path)
    return replace(suite, anchor=suite.anchor or anchor)


def _check_columns(path: Path, columns: tuple[str, ...], target: str, known: Sequence[str]) -> None:
    for column in columns:
        if column not in known:
            error = unknown_name("column", column, _OWN_COLUMNS)
            raise WorkbenchError(f"{path}: {error.problem}", error.remedy)
        if columns.count(column) > 1 and column in _FOLDER_COLUMNS:
            raise WorkbenchError(f"{path} has two columns {column!r}.", "Leave one of them out.")
    for column in ("prompt", "evaluation_seed"):
        if column not in columns:
            raise WorkbenchError(f"{path} lacks the column {column!r}.", "Add it; the first line names the columns.")
    if "expected" not in columns and not target:
        raise WorkbenchError(
            f"{path} does not say what its prompts show.", "Name the target, or add a column 'expected'."
        )


def _row(path: Path, line: int, record: dict[str, str], target: str, known: Sequence[str]) -> SuiteRow:
    if _SURPLUS in record or any(record.get(column, "") is None for column in _FOLDER_COLUMNS):
        more = "more" if _SURPLUS in record else "fewer"
        raise WorkbenchError(
            f"{path}: line {line} has {more} fields than there are columns.", "Put texts with commas into quotes."
        )
    if not record["prompt"].strip() and "input" not in known:
        raise WorkbenchError(f"{path}: line {line} has no prompt.", "Give it one, or leave the line out.")
    try:
        seed = int(record["evaluation_seed"])
    except ValueError:
        raise WorkbenchError(
            f"{path}: {record['evaluation_seed']!r} is no seed (prompt {record['prompt']!r}).", "Use whole numbers."
        ) from None
    role, expected = record.get("role") or "target", record.get("expected", target)
    return SuiteRow(record["prompt"], role, expected, seed, record.get("condition", ""), record.get("input", ""))
