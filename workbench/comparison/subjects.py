"""Whom a comparison is about: a concept with the prompts that show whether it is gone."""

from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.evaluation.roles import UNTOLD
from workbench.evaluation.suites import Suite


class Subject(NamedTuple):
    """A concept to be erased, and the prompts that show whether it is."""

    concept: Concept
    suite: Suite
    validation: Suite | None = None  # what the length of trainings is chosen on

    def check(self) -> None:
        """Refuses a suite whose roles deny what the concept tells.

        Raises:
            WorkbenchError: A role that is for what no fit was told holds what this one is told.
        """
        told = {word.casefold() for word in (self.concept.anchor, *self.concept.retain) if word}
        for row in self.suite.rows:
            if row.role in UNTOLD and row.expected.casefold() in told:
                role = "anchor" if row.expected.casefold() == self.concept.anchor.casefold() else "told"
                raise WorkbenchError(
                    f"{row.prompt!r} is of the role {row.role!r}, for what no fit is told, and fits are told to keep "
                    f"{row.expected!r}.",
                    f"Give it the role {role!r}, or take {row.expected!r} out of the concept.",
                )
