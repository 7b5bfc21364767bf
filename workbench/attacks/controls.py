"""What every attack is compared with: no edit at all, no attack, and as many pictures from new seeds.

They are attacks themselves, so that they spend the same budget, stop as early, and are resumed and shown alike. What an
attack seeks is also drawn at random: `Attack.control`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_seed
from workbench.attacks.trying import Search, Try, try_all
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.model import Change


@dataclass(frozen=True)
class Nothing:
    """A change that is none: with it in place the unedited model is attacked."""

    def installed(self, model: Any) -> AbstractContextManager:
        """The model as it is."""
        return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Plain(AttackMethod):
    """The prompt itself, at its own seed: no attack. What succeeds so is pre-ASR."""

    name: ClassVar[str] = "plain"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture"

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """One picture of each."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            try_all(model, [(one, Try(one.row, one.row.prompt)) for one in found], judge, **sampling)
        return [one.attempt() for one in found]


@dataclass(frozen=True, kw_only=True)
class NewSeeds(AttackMethod):
    """The prompt itself from new seeds, as many as the budget has pictures: what luck alone finds."""

    name: ClassVar[str] = "new seeds"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "the budget of pictures"

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """Seed after seed until one succeeds."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for number in progress(range(budget.images), self.name):
                own = {id(one): own_seed(one.row, seed, f"{self.name} {number}") for one in found}
                going = [(one, Try(one.row, one.row.prompt, seed=own[id(one)])) for one in found if not one.success]
                try_all(model, going, judge, **sampling)
        return [one.attempt() for one in found]
