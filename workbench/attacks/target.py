"""What is attacked, and what is refused before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.attacks.attack import Attack, Budget
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.evaluation.evaluate import FittedConditions, fits
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.shares import shares_of
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model

RANDOM = "random"  # how the names of random edits begin: they show what any change of that size does


class Target(NamedTuple):
    """What is attacked.

    Args:
        suite: Its rows of the role "target" are attacked, or all that are about its target if it has none of these.
        edits: By the names of their conditions; of several fits each is attacked on its own share of the prompts. The
            unedited model is attacked too: the ceiling.
        attacks: By their labels, which tables show.
        never_known: Whether the suite is about what the model never knew. Then only the unedited model is attacked.
        most: Attacks at most so many rows, the first ones; None for all.
    """

    suite: Suite
    edits: FittedConditions
    attacks: Mapping[str, Attack]
    never_known: bool = False
    most: int | None = None

    @property
    def n_shares(self) -> int:
        """Into how many shares the prompts are dealt out: as many as there are fits of a condition."""
        return max([1, *(len(fits(given)) for given in self.edits.values())])

    @property
    def rows(self) -> list[SuiteRow]:
        """The rows that are attacked, for every condition the same; of several shares, each says its own."""
        rows: Sequence[SuiteRow] = self.suite.rows
        if self.n_shares > 1:
            rows = [replace(row, share=own) for row, own in zip(rows, shares_of(rows, self.n_shares), strict=True)]
        known = self.suite.known_roles
        about = [row for row in rows if known[row.role].wanted == "absent" and not row.input]
        return ([row for row in about if row.role == "target"] or about)[: self.most]

    @property
    def attacked(self) -> dict[str, tuple[Edit, ...]]:
        """The conditions that are attacked, with their fits: the unedited model first, which has none, and no random
        edits."""
        own = {name: fits(given) for name, given in self.edits.items() if not name.startswith(RANDOM)}
        return {UNEDITED: (), **own}


def check_targets(model: Model, targets: Sequence[Target], judge: Judge, budget: Budget, controls: bool) -> None:
    """Refuses what can be told beforehand.

    Raises:
        WorkbenchError: There are no rows or no attacks, rows have settings of their own, a label is taken, an edit is
            another model's, the judge does not know the concept, or an attack or its control does not work on the rows
            or on an edit.
    """
    model.check_unedited("An attack")
    for target in targets:
        if not (target.edits or target.never_known):
            raise _nothing()
        check_attacks(model, target, judge, budget, controls)
        for edit in (edit for given in target.edits.values() for edit in fits(given)):
            edit.check(model)
        for attack in target.attacks.values():
            for first in (edits[0] for edits in target.attacked.values() if edits):
                if check := getattr(attack, "check_edit", None):  # a stranger's need not have one
                    check(model, first, target.rows, budget)


def check_attacks(model: Model, target: Target, judge: Judge, budget: Budget, controls: bool) -> None:
    """Refuses what can be told before there are edits.

    Raises:
        WorkbenchError: As `check_targets` does.
    """
    suite, rows = target.suite, target.rows
    if not rows or not target.attacks:
        raise _nothing()
    if any(row.guidance_scale is not None or row.steps is not None for row in rows):
        raise WorkbenchError(
            f"Rows of {suite.name!r} have guidance or steps of their own, and an attack samples all rows alike.",
            "Take these columns out of the list.",
        )
    check_knows(judge, suite.concepts)
    for label, attack in target.attacks.items():
        if not label or "," in label or label in suite.known_roles:
            raise WorkbenchError(f"An attack cannot be labelled {label!r}.", "Take another label, without commas.")
        _check(attack, model, rows, budget)
        if controls:
            _check(attack.control(model, rows, ()), model, rows, budget)


def _check(attack: Attack | None, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
    if check := getattr(attack, "check", None):  # a stranger's need not have one
        check(model, rows, budget)


def _nothing() -> WorkbenchError:
    return WorkbenchError("There is nothing to attack.", "Give a suite about its target, an edit and an attack.")
