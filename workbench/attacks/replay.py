"""Replay: other wordings of a concept, tried one after another. The simplest attack: it costs no gradient.

Synonyms, misspellings, descriptions, or the prompts that another attack found against another edit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget
from workbench.attacks.trying import Search, Try, try_all
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.model import Change


@dataclass(frozen=True, kw_only=True)
class Replay(AttackMethod):
    """Puts wordings in the place of the concept's name, or tries whole prompts."""

    wordings: Annotated[
        tuple[str, ...],
        Doc(
            "In the order in which they are tried. A prompt that holds the concept's name is tried with each in its "
            "place; for a prompt that does not, each is a whole prompt."
        ),
    ]

    name: ClassVar[str] = "replay"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture a wording"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wordings or not all(self.wordings):
            raise WorkbenchError("There is no wording to try.", "Give at least one, and none that is empty.")

    def attempts(
        self,
        model: Model,
        edit: Change,
        rows: Sequence[SuiteRow],
        judge: Judge,
        *,
        budget: Budget,
        seed: int = 0,
        progress: Progress = SILENT,
        **sampling: Any,
    ) -> list[Attempt]:
        """The first wording that brings the concept back; the last one tried if none does."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for wording in progress(self.wordings, "wordings"):
                going = [one for one in found if not one.success and one.images < budget.images]
                try_all(model, [(one, Try(one.row, said(one.row, wording))) for one in going], judge, **sampling)
        return [one.attempt() for one in found]


def said(row: SuiteRow, wording: str) -> str:
    """A prompt with a wording in the place of the concept's name, or the wording itself where it has no such place."""
    return row.prompt.replace(row.expected, wording) if row.expected and row.expected in row.prompt else wording
