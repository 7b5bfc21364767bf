"""What is attacked, and what is refused before any work."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.attacks.attack import Attack, Budget
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.evaluation.evaluate import Conditions
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model

RANDOM = "random"  # how the names of random edits begin: they show what any change of that size does


class Target(NamedTuple):
    """What is attacked.

    Args:
        suite: Its rows of the role "target" are attacked, or all that are about its target if it has none of these.
        edits: By the names of their conditions. The unedited model is attacked too: the ceiling.
        attacks: By their labels, which tables show.
        never_known: Whether the suite is about what the model never knew. Then only the unedited model is attacked.
    """

    suite: Suite
    edits: Conditions
    attacks: Mapping[str, Attack]
    never_known: bool = False

    @property
    def rows(self) -> list[SuiteRow]:
        """The rows that are attacked, for every condition the same."""
        known = self.suite.known_roles
        about = [row for row in self.suite.rows if known[row.role].wanted == "absent" and not row.input]
        return [row for row in about if row.role == "target"] or about

    @property
    def attacked(self) -> dict[str, Edit | None]:
        """The conditions that are attacked: the unedited model first, and no random edits."""
        return {UNEDITED: None} | {name: one for name, one in self.edits.items() if not name.startswith(RANDOM)}


def check_targets(model: Model, targets: Sequence[Target], judge: Judge, budget: Budget, controls: bool) -> None:
    """Refuses what can be told beforehand.

    Raises:
        WorkbenchError: There are no rows or no attacks, a label is taken, an edit is another model's, the judge does
            not know the concept, or an attack or its control does not work on the rows.
    """
    model.check_unedited("An attack")
    for suite, edits, attacks, never_known in targets:
        if not Target(suite, edits, attacks).rows or not attacks or not (edits or never_known):
            raise WorkbenchError("There is nothing to attack.", "Give a suite about its target, an edit and an attack.")
        check_knows(judge, suite.concepts)
        for label in attacks:
            if not label or "," in label or label in suite.known_roles:
                raise WorkbenchError(f"An attack cannot be labelled {label!r}.", "Take another label, without commas.")
        for edit in edits.values():
            if edit is not None:
                edit.check(model)
        rows = Target(suite, edits, attacks).rows
        for attack in attacks.values():
            for each in (attack, attack.control(model, rows, ()) if controls else None):
                if check := getattr(each, "check", None):  # a stranger's need not have one
                    check(model, rows, budget)
