"""What attacks came to, as rows of suites and of the table of attempts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from workbench.attacks.attempts import Stored, kind_of
from workbench.attacks.roles import AS_TEXT, ELSEWHERE, NEVER_KNOWN, Part, role_of
from workbench.attacks.target import Target
from workbench.conditions import UNEDITED
from workbench.evaluation.inputs import NotText, input_hash
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite, SuiteRow


class Outcome(NamedTuple):
    """What an attack or a control came to on one row of one condition."""

    target: Target
    condition: str
    part: Part
    name: str
    place: int
    row: SuiteRow
    stored: Stored
    already: bool

    def row_of_table(self) -> dict[str, Any]:
        """As a row of `attempts.parquet`."""
        attempt, row = self.stored.attempt, self.suite_row(self.part)
        return {
            "suite": self.target.suite.name, "concept": self.target.suite.target, "condition": self.condition,
            "attack": self.part.attack, "name": self.name, "control": self.part.what, "row": self.place,
            "share": self.row.share or 0, "plain": self.row.prompt, "plain_seed": self.row.seed,
            "plain_role": plain_role(self.target, self.row),
            "already": self.already, "prompt": row.prompt, "seed": row.seed, "input": row.input,
            "given": kind_of(attempt.given), "success": attempt.success, "images": attempt.images,
            "gradients": attempt.gradients, "seconds": self.stored.seconds, "dropped": attempt.dropped,
            "never_known": self.target.never_known,
        }  # fmt: skip

    def suite_row(self, part: Part, condition: str | None = None) -> SuiteRow:
        """As a row of a suite, of a role and a condition."""
        attempt = self.stored.attempt
        return replace(
            self.row, prompt=attempt.prompt, role=part.role,
            seed=self.row.seed if attempt.seed is None else attempt.seed,
            condition=self.condition if condition is None else condition,
            input="" if attempt.given is None else input_hash(attempt.given),
        )  # fmt: skip


def plain_role(target: Target, row: SuiteRow) -> str:
    """The role of a row as it is, without an attack."""
    return NEVER_KNOWN.name if target.never_known else row.role


def attacked_suite(target: Target, outcomes: Sequence[Outcome], transfer: bool) -> Suite:
    """A suite with the rows that attacks and controls came to.

    Args:
        target: What was attacked.
        outcomes: What came of it.
        transfer: Whether rows that were made against one edit are asked of the others too.
    """
    plain = [replace(row, role=plain_role(target, row)) for row in target.suite.rows]
    made: dict[SuiteRow, None] = {}
    roles: dict[str, Role] = {NEVER_KNOWN.name: NEVER_KNOWN} if target.never_known else {}
    inputs: dict[str, NotText] = dict(target.suite.inputs)
    for outcome in outcomes:
        attempt = outcome.stored.attempt
        own = [(outcome.part, outcome.condition)]
        if kind_of(attempt.given) == "ids" and not outcome.part.what:
            own.append((outcome.part._replace(what=AS_TEXT), outcome.condition))
        if transfer and not outcome.part.what and outcome.condition != UNEDITED:
            others = [name for name in target.attacked if name not in (outcome.condition, UNEDITED)]
            own += [(outcome.part._replace(what=ELSEWHERE), name) for name in others]
        for part, condition in own:
            row = outcome.suite_row(part, condition)
            made[replace(row, input="") if part.what == AS_TEXT else row] = None
            roles[part.role] = role_of(part)
        if attempt.given is not None:
            inputs[input_hash(attempt.given)] = attempt.given
    dropped = target.suite.dropped + sum(one.stored.attempt.dropped for one in outcomes)
    return replace(
        target.suite, rows=(*plain, *made), dropped=dropped, roles=(*target.suite.roles, *roles.values()),
        inputs=inputs,
    )  # fmt: skip
