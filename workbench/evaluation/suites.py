"""Suites: prompts with a role and a seed, read from lists in any form (`suite_lists`) or from folders of suites.

A suite's own list has the columns `case_number, prompt, evaluation_seed` of ESD, UCE, MACE and UnlearnDiffAtk, and
beside them `role` and `expected`. Suites with prompts that are no text are folders (`suite_folders`). Prompts that may
involve a minor never enter a suite, whatever list they are from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saes.errors import WorkbenchError, unknown_name
from workbench.adults import may_involve_a_minor
from workbench.evaluation.roles import ROLES, Role, joined_roles

_ABOUT = "suite.json"  # in a folder that holds a suite
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
        guidance_scale: That of this image, where the list says it of each; None for that of the run.
        steps: The same of the denoising steps.
        size: Width and height in pixels, where the list says them: only a model that draws this size may be asked.

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
    guidance_scale: float | None = None
    steps: int | None = None
    size: tuple[int, int] | None = None

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
        rows: At least one. Equal rows are one picture, which counts as often as it is listed.
        anchor: The concept that may take the target's place, "" if none is named.
        dropped: How many prompts `adults_only` left out, for reports to say so.
        roles: Roles of this suite's own, beside those of `ROLES`.
        inputs: The prompts that are no text, by the hashes that rows name: `{input_hash(prompt): prompt}`.
        tokenizers: Those that ids among the inputs are of (`input_checks.tokenizers_of(model)`), "" if nobody said.

    Raises:
        WorkbenchError: There are no rows, an input is missing, there are several targets, roles are unknown, or prompts
            may involve a minor.
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


def read_suite(
    path: Path | str, *, target: str = "", anchor: str = "", roles: Sequence[Role] = (), told: Sequence[str] = ()
) -> Suite:
    """Reads a suite: a list in any form, named after its file, or a folder.

    Args:
        path: A folder that `write_suite` made, or a list (`suite_lists.read_suite_list` tells how it is read).
        target: The concept that the suite must be about, "" for whatever the file says.
        anchor: The concept that may take its place; a folder may name one itself.
        roles: Roles beside those of `ROLES` that the rows may have.
        told: The concepts that a fit is told to keep, such as the concept's `retain`: where a column of classes says
            what a list's rows show, those of such a class have the role "told", and the others are unrelated.

    Returns:
        The suite, without prompts that may involve a minor, which it counts. A warning says what else of a list was
        left out or not read.

    Raises:
        WorkbenchError: The file is no such list, has lines with more or fewer fields than columns, seeds that are no
            whole numbers, no prompts, or another target.
    """
    from workbench.evaluation.suite_folders import read_suite_folder  # which needs torch for what is no text
    from workbench.evaluation.suite_lists import read_suite_list

    path = Path(path)
    if (path / _ABOUT).is_file():
        suite = read_suite_folder(path)
        suite = replace(suite, anchor=suite.anchor or anchor)
    else:
        suite = read_suite_list(path, target, anchor, roles, told)
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
    from workbench.evaluation.suite_folders import write_suite_folder
    from workbench.evaluation.suite_lists import write_rows

    path = Path(path)
    if path.suffix.lower() != ".csv":
        return write_suite_folder(suite, path)
    if suite.inputs:
        raise WorkbenchError(
            f"The suite {suite.name!r} has prompts that are no text, and a list holds text.",
            f"Write it into a folder, such as {path.with_suffix('')}.",
        )
    write_rows(suite.rows, path)
