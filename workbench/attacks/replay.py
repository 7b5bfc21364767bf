"""Replay: other wordings of a concept, tried one after another. The simplest attack: it costs no gradient.

Synonyms, misspellings, descriptions, or the prompts that another attack found against another edit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from saes.errors import WorkbenchError
from workbench.attacks.attack import Attempt, Budget, sees
from workbench.edits import Edit
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Puts wordings in the place of the concept's name, or tries whole prompts.

    Args:
        wordings: In the order in which they are tried. A prompt that holds the concept's name is tried with each
            wording in its place; for a prompt that does not, each wording is a whole prompt.
    """

    wordings: Sequence[str]

    name: ClassVar[str] = "replay"

    def __post_init__(self) -> None:
        object.__setattr__(self, "wordings", tuple(self.wordings))
        if not self.wordings or not all(self.wordings):
            raise WorkbenchError("There is no wording to try.", "Give at least one, and none that is empty.")

    def attempt(
        self, model: Model, edit: Edit, row: SuiteRow, judge: Judge, *, budget: Budget, seed: int = 0
    ) -> Attempt:
        """The first wording that brings the concept back; the last one tried if none does."""
        named = row.expected and row.expected in row.prompt
        tried = [row.prompt.replace(row.expected, one) if named else one for one in self.wordings][: budget.images]
        with model.edited(edit):
            for made, prompt in enumerate(tried, 1):
                if sees(judge, model.generate(prompt, row.seed), [prompt], row.expected)[0]:
                    return Attempt(prompt, None, True, made)
        return Attempt(tried[-1], None, False, len(tried))
