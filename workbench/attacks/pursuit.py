"""White-box attacks in rounds: some gradient steps for all prompts together, then a picture of each, until it succeeds.

All prompts of a round go through the model in one pass. A prompt that succeeds leaves the batch.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from saes.errors import WorkbenchError
from saes.progress import Progress
from workbench.attacks.applying import check_applies
from workbench.attacks.attack import Attack, Attempt, Budget
from workbench.attacks.gates import Treatment, branches_of
from workbench.attacks.pictures import check_pictures
from workbench.attacks.reach import check_reached
from workbench.attacks.trying import Search, Try, try_all
from workbench.edits import Edit
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.model import Change


class Chase(NamedTuple):
    """One pursuit of a row: which row of the batch, and the branch of the edit's gates that it is in (or None)."""

    row: int
    branch: float | None


class Rounds(NamedTuple):
    """How much is done for each row and branch."""

    checks: int  # rounds, each with a picture at its end
    steps: int  # gradient steps in each


@runtime_checkable
class Pursuit(Protocol):
    """What an attack does in rounds. It knows each chase by its number in the list that it was made with."""

    def improve(self, chases: Sequence[int], number: int) -> None:
        """The gradient steps of one round, for these chases together.

        Args:
            chases: Those whose row has not succeeded yet.
            number: The round, from 0.
        """
        ...

    def proposal(self, chase: int) -> Try:
        """The prompt that is tried after a round.

        Args:
            chase: Its number.
        """
        ...


def chases_of(rows: Sequence[SuiteRow], edit: Change, treatment: Treatment) -> list[Chase]:
    """Every row once, or once for each branch where an edit decides and both are tried; a row's one after another."""
    branches = branches_of(edit, treatment) if isinstance(edit, Edit) else (None,)
    return [Chase(row, branch) for row in range(len(rows)) for branch in branches]


def rounds_of(budget: Budget, most: Rounds, branches: int) -> Rounds:
    """Rounds within a budget: fewer of them where it has fewer pictures, shorter ones where it has fewer gradients.

    Args:
        budget: Of one row.
        most: What an attack does if it may.
        branches: Chases of one row, which share its budget.

    Raises:
        WorkbenchError: It is too small for one round.
    """
    images, gradients = budget.images // branches, budget.gradients // branches
    if not images or not gradients:
        raise WorkbenchError(
            f"A budget of {budget.images} images and {budget.gradients} gradients is too small for an attack by "
            + (f"gradients in {branches} branches." if branches > 1 else "gradients."),
            f"Give {branches} of each or more; the whole attack takes {branches * most.checks} images and "
            f"{branches * most.checks * most.steps} gradients.",
        )
    checks = min(most.checks, images, gradients)
    return Rounds(checks, min(most.steps, gradients // checks))


def pursued(
    model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, chases: Sequence[Chase], rounds: Rounds,
    pursuit: Pursuit, *, progress: Progress, label: str, **sampling: Any,
) -> list[Attempt]:  # fmt: skip
    """Rounds until every row has succeeded or the budget is spent.

    Args:
        model: The model, without the edit.
        edit: What is attacked.
        rows: One search each.
        judge: Looks at the pictures.
        chases: Those of each row.
        rounds: How many there are, and their gradient steps.
        pursuit: Does them.
        progress: Shows the rounds.
        label: What it is called there.
        **sampling: As `model.generate` takes it.

    Returns:
        An attempt for each row.
    """
    searches = [Search(row) for row in rows]
    for number in progress(range(rounds.checks), label):
        going = [place for place, chase in enumerate(chases) if not searches[chase.row].success]
        if not going:
            continue
        pursuit.improve(going, number)
        for place in going:
            searches[chases[place].row].gradients += rounds.steps
        with model.edited(edit):
            for branch in dict.fromkeys(chase.branch for chase in chases):
                own = [(searches[chases[place].row], place) for place in going if chases[place].branch == branch]
                tries = [(search, pursuit.proposal(place)) for search, place in own if not search.success]
                try_all(model, tries, judge, **sampling)
    return [search.attempt() for search in searches]


def check_search(
    attack: Attack, model: Model, rows: Sequence[SuiteRow], budget: Budget, most: Rounds, folder: str = ""
) -> None:
    """Refuses what no search in rounds can work on, before any work.

    Args:
        attack: The attack.
        model: Any.
        rows: Those that may be attacked.
        budget: Of each.
        most: Rounds that the attack does if it may.
        folder: Of its pictures, as in `pictures.Folder`.

    Raises:
        WorkbenchError: The attack does not work on such a model, the budget is too small for a round, or there is no
            picture of a concept.
    """
    check_applies(attack, model)
    rounds_of(budget, most, 1)
    check_pictures(folder, rows)


def check_through(
    model: Model, edit: Change, rows: Sequence[SuiteRow], budget: Budget, most: Rounds, what: str,
    treatment: Treatment, to: Literal["prompt", "start"] = "prompt",
) -> None:  # fmt: skip
    """Refuses an edit that lets no gradient through, and a budget too small for both branches of its gates.

    Args:
        model: The model, without the edit.
        edit: What is to be attacked.
        rows: As for `check_search`, with the others.
        budget: Of each.
        most: Rounds that the attack does if it may.
        what: The attack, as the subject of a sentence.
        treatment: Of the edit's gates.
        to: As for `reach.check_reached`.

    Raises:
        WorkbenchError: It does not fit.
    """
    rounds_of(budget, most, len(chases_of(rows[:1], edit, treatment)))
    check_reached(model, edit, rows[0].prompt, what, treatment, to)


def check_rows(attack: Attack, model: Model, rows: Sequence[SuiteRow], judge: Judge) -> None:
    """Refuses a model on which an attack does not work, one that is edited already, no rows, and a judge that does not
    know what rows expect."""
    check_applies(attack, model)
    model.check_unedited("An attack")
    if not rows:
        raise WorkbenchError("There is nothing to attack.", "Give at least one row.")
    check_knows(judge, [row.expected for row in rows])
