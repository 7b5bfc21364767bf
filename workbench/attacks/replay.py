"""Replay: prompts that others made, tried one after another. The simplest attack: it costs no gradient.

Synonyms, misspellings, the name in other languages, descriptions without the name, published lists, and the prompts
that another attack made against another edit. A gap between the name and its synonyms alone refutes an erasure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget
from workbench.attacks.attempts import TABLE, read_attempts
from workbench.attacks.trying import Search, Try, try_all
from workbench.attacks.wordings import listed, misspellings, readable
from workbench.concepts import Concept
from workbench.evaluation.inputs import read_input
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.knobs import Opens
from workbench.models import Model
from workbench.models.model import Change

MISSPELT = 3  # misspellings of a concept's name, if nobody says how many


@dataclass(frozen=True, kw_only=True)
class Replay(AttackMethod):
    """Tries other wordings of the concept's name, whole prompts, and what was made against another edit."""

    wordings: Annotated[
        tuple[str, ...],
        Doc("Synonyms, words of other languages, …: tried in the place of the concept's name where a prompt holds it."),
    ] = ()
    misspelt: Annotated[int, Ge(0), Doc("Misspellings of the name, tried after the wordings.")] = 0
    prompts: Annotated[tuple[str, ...], Doc("Whole prompts, such as descriptions without the name.")] = ()
    file: Annotated[
        str, Opens(lambda path: [Path(path)] if path else []), Doc("More prompts: a published list (CSV), or a text.")
    ] = ""
    run: Annotated[
        str, Opens(lambda run: [Path(run, TABLE)] if run else []), Doc("A run of attacks, whose prompts are tried.")
    ] = ""
    against: Annotated[str, Doc("Only those that were made against this condition of the run.")] = ""

    name: ClassVar[str] = "replay"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture a wording"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any((self.wordings, self.misspelt, self.prompts, self.file, self.run)):
            raise WorkbenchError("There is no wording to try.", "Give wordings, misspelt, prompts, a file or a run.")
        if not all(one.strip() for one in (*self.wordings, *self.prompts)):
            raise WorkbenchError("A wording is empty.", "Leave it out.")

    @classmethod
    def told_by(cls, concept: Concept) -> dict[str, Any]:
        """Its synonyms, misspellings of its name, and the prompts that imply it."""
        return {"wordings": concept.synonyms, "misspelt": MISSPELT, "prompts": concept.implied}

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """The file and the run can be read."""
        self._tries(model, rows[:1])

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The first prompt that brings the concept back; the last one tried if none does."""
        found = [(Search(row), tries) for row, tries in zip(rows, self._tries(model, rows), strict=True)]
        most = min(budget.images, max(len(tries) for _, tries in found))
        with model.edited(edit):
            for place in progress(range(most), "wordings"):
                going = [(search, tries[place]) for search, tries in found if place < len(tries) and not search.success]
                try_all(model, going, judge, **sampling)
        return [search.attempt() for search, _ in found]

    def _tries(self, model: Model, rows: Sequence[SuiteRow]) -> list[list[Try]]:
        """What is tried for each row, in order."""
        prompts = readable(model.pipe.tokenizer, [*self.prompts, *(listed(self.file) if self.file else ())])
        found = []
        for row in rows:
            words = [*self.wordings, *misspellings(row.expected, self.misspelt)] if row.expected in row.prompt else []
            said = [row.prompt.replace(row.expected, word) for word in readable(model.pipe.tokenizer, words)]
            found.append([*(Try(row, text) for text in (*said, *prompts)), *self._made(row)])
        return found

    def _made(self, row: SuiteRow) -> list[Try]:
        """What attacks of another run found for the same row, each once."""
        if not self.run:
            return []
        made = read_attempts(self.run)
        if self.against and self.against not in set(made["condition"]):
            raise WorkbenchError(f"{self.run} attacks no condition {self.against!r}.", "See its table of attacks.")
        same = (made["plain"] == row.prompt) & (made["plain_seed"] == row.seed) & (made["concept"] == row.expected)
        same &= (made["control"] == "") & ~made["already"]
        own = made[same & ((made["condition"] == self.against) | (not self.against))]
        found = [Try(row, one.prompt, read_input(Path(self.run), one.input) if one.input else None, int(one.seed))
                 for one in own.drop_duplicates(["prompt", "input", "seed"]).itertuples()]  # fmt: skip
        return sorted(found, key=lambda one: one.prompt)
