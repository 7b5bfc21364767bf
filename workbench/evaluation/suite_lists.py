"""Suites as lists: the workbench's own, and those that people have, whose columns are known by their form.

Columns that begin with evaluation_ say how a picture is to be made; those with sd_ how somebody's picture was made,
which is asked for where the list has no other seeds (I2P). A column of classes says what each prompt shows.
"""

import csv
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isfinite, nan
from pathlib import Path

from saes.disk import replacing
from saes.errors import WorkbenchError, unknown_name
from saes.plain import whole
from workbench.evaluation.class_columns import ByClass, by_class
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite, SuiteRow, adults_only
from workbench.lists import Listing, Record, read_list

SEEDS = ("evaluation_seed", "seed", "sd_seed")
OWN = ("role", "expected", "condition")
_COLUMNS = ("case_number", "prompt", "evaluation_seed", "role", "expected")
_STEMS = {
    "guidance_scale": ("guidance_scale", "guidance", "cfg_scale"), "steps": ("steps", "num_inference_steps"),
    "width": ("width", "image_width"), "height": ("height", "image_height"),
}  # fmt: skip


def read_suite_list(path: Path, target: str, anchor: str, roles: Sequence[Role], told: Sequence[str] = ()) -> Suite:
    """Reads a list of prompts in any form of `workbench.lists`.

    Args:
        path: The list. Its columns `role`, `expected` and `condition` are those of `SuiteRow`. Where it has none of the
            first two, a column of classes says which rows are about the target (`class_columns`); without one, all
            are. Guidance, steps and size of each row are taken from their columns; seeds too, which count up from 0
            where there is no column of them.
        target: The concept that the rows are about which do not say it.
        anchor: The concept that may take its place.
        roles: Roles beside those of `ROLES`.
        told: The concepts that a fit is told to keep: rows of such a class have the role "told".

    Returns:
        The suite. A warning says what was left out and which columns were not read.

    Raises:
        WorkbenchError: As `read_suite`.
    """
    listing = read_list(path)
    if "input" in listing.columns:
        raise WorkbenchError(
            f"{path} has a column 'input', which names prompts that are no text, beside their files.",
            "Give the folder of the suite, or take the column out.",
        )
    reader = _Reader.of(listing, target, anchor, told)
    rows = [reader.row(place, record) for place, record in enumerate(listing.records)]
    kept = adults_only(rows)
    if not kept:
        raise WorkbenchError(f"{path} has no prompts left after the filter.", "Give it at least one row.")
    reader.say(kept)
    about = any(row.role == "target" for row in kept)
    return Suite(path.stem if about or not target else target, kept, anchor, len(rows) - len(kept), tuple(roles))


def write_rows(rows: Iterable[SuiteRow], path: Path) -> None:
    """Writes rows as CSV, with the columns that some of them need.

    Args:
        rows: The rows, in their order.
        path: The file.
    """
    told = [_told(number, row) for number, row in enumerate(rows)]
    used = [name for name in told[0] if name in _COLUMNS or any(one[name] not in ("", None) for one in told)]
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, used, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(told)


def read_rows(path: Path) -> list[SuiteRow]:
    """The rows that `write_rows` wrote, those that may involve a minor included.

    Args:
        path: The file.

    Raises:
        WorkbenchError: It was altered.
    """
    listing = read_list(path, empty=True)
    reader = _Reader.of(listing, "", "")
    return [
        replace(reader.row(place, record), input=record.fields.get("input", ""))
        for place, record in enumerate(listing.records)
    ]


def _told(number: int, row: SuiteRow) -> dict[str, object]:
    width, height = row.size or (None, None)
    return {
        "case_number": number, "prompt": row.prompt, "evaluation_seed": row.seed, "role": row.role,
        "expected": row.expected, "condition": row.condition, "input": row.input,
        "evaluation_guidance": row.guidance_scale, "evaluation_steps": row.steps, "evaluation_width": width,
        "evaluation_height": height,
    }  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    """Where a list says what."""

    listing: Listing
    target: str
    classes: ByClass | None
    columns: Mapping[str, str]  # what → the column that says it

    @classmethod
    def of(cls, listing: Listing, target: str, anchor: str, told: Sequence[str] = ()) -> "_Reader":
        """The reader of a list, whose columns are looked at."""
        _check_names(listing)
        own = {name: name for name in OWN if name in listing.columns}
        classes = None if {"role", "expected"} & own.keys() else by_class(listing, target, anchor, told)
        if not (target or classes or "expected" in own):
            raise WorkbenchError(
                f"{listing.path} does not say what its prompts show.", "Name the target, or add a column 'expected'."
            )
        seeds = next((name for name in SEEDS if name in listing.columns), "")
        prefix = "sd_" if seeds == "sd_seed" else "evaluation_"
        columns = {"seed": seeds}
        for what, stems in _STEMS.items():
            names = [name for stem in stems for name in (prefix + stem, stem)]
            columns[what] = next((name for name in names if name in listing.columns), "")
        return cls(listing, target, classes, own | {what: name for what, name in columns.items() if name})

    def row(self, place: int, record: Record) -> SuiteRow:
        """The row that a record asks for.

        Args:
            place: Its place in the list, which is its seed where there is no column of seeds.
            record: The record.
        """
        role, expected = "target", self.target
        if self.classes:
            role, expected = self.classes.role(record.fields.get(self.classes.column, ""))
        width, height = self._count(record, "width"), self._count(record, "height")
        return SuiteRow(
            record.prompt, self._field(record, "role") or role,
            self._field(record, "expected") if "expected" in self.columns else expected,
            self._seed(record, place), self._field(record, "condition"), guidance_scale=self._guidance(record),
            steps=self._count(record, "steps"), size=None if width is None or height is None else (width, height),
        )  # fmt: skip

    def say(self, kept: Sequence[SuiteRow]) -> None:
        """Warns of what was left out of a list, counted in a way that one may not expect, or not read."""
        listing, said = self.listing, []
        if listing.empty:
            said.append(f"{listing.empty} without a prompt were left out")
        if left := len(listing.records) - len(kept):
            said.append(f"{left} that may involve a minor were left out")
        if repeats := len(kept) - len(set(kept)):
            said.append(f"{repeats} repeat others, and their pictures count as often as they are listed")
        if "seed" not in self.columns:
            said.append("seeds count up from 0, since there is no column of them")
        if self.classes and (others := sum(row.role != "target" for row in kept)):
            said.append(f"{others} are not about {self.classes.target!r} by the column {self.classes.column!r}")
        used = {*self.columns.values(), self.classes.column if self.classes else "", "", *_COLUMNS}
        if passed := [name for name in listing.columns if name not in used]:
            said.append(f"not read: {', '.join(passed)}")
        if said:
            warnings.warn(f"{listing.path}, {len(listing.records)} prompts: {'; '.join(said)}.", stacklevel=4)

    def _field(self, record: Record, what: str) -> str:
        return record.fields.get(self.columns[what], "") if what in self.columns else ""

    def _seed(self, record: Record, place: int) -> int:
        if "seed" not in self.columns:
            return place
        if (number := whole(self._field(record, "seed"))) is None:
            raise self._wrong(record, "seed", "is no seed", "Use whole numbers.")
        return number

    def _count(self, record: Record, what: str) -> int | None:
        """A number from 1, None where the list says none."""
        if not (text := self._field(record, what)):
            return None
        number = whole(text)
        if number is None or number < 1:
            raise self._wrong(record, what, f"is no number for {what}", "Use whole numbers from 1.")
        return number

    def _guidance(self, record: Record) -> float | None:
        if not (text := self._field(record, "guidance_scale")):
            return None
        try:
            number = float(text)
        except ValueError:
            number = nan
        if not isfinite(number):
            raise self._wrong(record, "guidance_scale", "is no guidance scale", "Use finite numbers.")
        return number

    def _wrong(self, record: Record, what: str, problem: str, remedy: str) -> WorkbenchError:
        return WorkbenchError(
            f"{self.listing.path}: {self._field(record, what)!r} {problem} (prompt {record.prompt[:80]!r}).", remedy
        )


def _check_names(listing: Listing) -> None:
    """Refuses a column that is nearly called as one whose loss nobody would see."""
    for name in listing.columns:
        if name not in OWN and get_close_matches(name, OWN, n=1, cutoff=0.8):
            error = unknown_name("column", name, OWN)
            raise WorkbenchError(f"{listing.path}: {error.problem}", error.remedy)
    seeds = [name for name in listing.columns if "seed" in name]
    if seeds and not set(seeds) & set(SEEDS):
        error = unknown_name("column of seeds", seeds[0], SEEDS)
        raise WorkbenchError(f"{listing.path}: {error.problem}", error.remedy)
