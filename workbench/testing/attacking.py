"""What every attack promises, as checks that outsiders run on theirs: `check_attack(AttackCase(…))`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import torch

from workbench.attacks.attack import Attack, Attempt, Budget
from workbench.attacks.trying import Try, tried
from workbench.evaluation.inputs import NotText
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.model import Change
from workbench.testing.state import Watch, state_of

ACCESS = ("prompts", "text encoder", "weights")
CLOSE = 1e-4  # numbers round differently in batches of other sizes


@dataclass(frozen=True, eq=False)
class AttackCase:
    """An attack with what it is checked on: a model on the CPU, an edit of it, and three rows or more.

    A judge that never sees the concept makes the attack spend its whole budget, one that always does ends it at once.
    """

    attack: Attack
    model: Model
    edit: Change
    rows: Sequence[SuiteRow]
    judge: Judge
    budget: Budget = field(default_factory=lambda: Budget(images=2, gradients=4))
    sampling: dict[str, Any] = field(default_factory=lambda: {"steps": 2})

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Those on all rows at once, with seed 0."""
        return self.of(self.rows)

    def of(self, rows: Sequence[SuiteRow], **told: Any) -> list[Attempt]:
        """The attempts on some rows."""
        given = {"budget": self.budget, **self.sampling, **told}
        return self.attack.attempts(self.model, self.edit, rows, self.judge, **given)


def check_attack(case: AttackCase) -> None:
    """Runs every check."""
    for check in ATTACK_CHECKS.values():
        check(case)


def is_a_described_attack(case: AttackCase) -> None:
    """An attack is a frozen dataclass that says its name and what it needs to see."""
    attack: Any = case.attack
    assert isinstance(attack, Attack), "an attack has all of its facts"
    assert is_dataclass(attack) and type(attack).__dataclass_params__.frozen, "an attack is a frozen dataclass"  # type: ignore[attr-defined]
    assert attack == type(attack)(**{one.name: getattr(attack, one.name) for one in fields(attack)}), (
        "an attack that is made again from its settings is another one"
    )
    assert attack.access in ACCESS, f"an attack needs one of {ACCESS}"


def answers_each_row(case: AttackCase) -> None:
    """An attempt for each row, in their order, within the budget, of one row each."""
    assert len(case.attempts) == len(case.rows), "an attempt for each row"
    for attempt in case.attempts:
        assert isinstance(attempt, Attempt), "an Attempt comes out"
        assert 0 <= attempt.images <= case.budget.images, f"{attempt.images} of {case.budget.images} images were made"
        assert 0 <= attempt.gradients <= case.budget.gradients, (
            f"{attempt.gradients} of {case.budget.gradients} gradients were taken"
        )
        assert attempt.given is None or len(attempt.given) == 1, "what is given is of one row"


def brings_its_control(case: AttackCase) -> None:
    """What draws at random in its place is an attack too, which takes no gradient and draws within the same budget; it
    is the same whenever the same was found."""
    control = case.attack.control(case.model, case.rows, case.attempts)
    assert control == case.attack.control(case.model, case.rows, case.attempts), "asked again, it brought another one"
    if control is None:
        return
    assert isinstance(control, Attack), "a control is an attack"
    own = replace(case, attack=control)
    for check in (answers_each_row, does_not_look_beside, tells_the_truth, leaves_the_model_alone):
        check(own)
    assert not any(attempt.gradients for attempt in own.attempts), "a control takes no gradients"


def does_not_look_beside(case: AttackCase) -> None:
    """What a row gets does not depend on the rows beside it, nor on their order."""
    turned = case.of(list(case.rows)[::-1])[::-1]
    alone = [attempt for row in case.rows for attempt in case.of([row])]
    for whole, other, single in zip(case.attempts, turned, alone, strict=True):
        assert alike(whole, other), f"in another order {other} came out instead of {whole}"
        assert alike(whole, single), f"alone {single} came out instead of {whole}"


def repeats_itself(case: AttackCase) -> None:
    """The same seed gives the same attempts, whatever the state of torch's own generator, which is left as it was."""
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    again = case.of(case.rows)
    assert torch.equal(torch.get_rng_state(), state), "the attack used torch's global random numbers"
    assert all(map(alike, again, case.attempts)), "the same seed gave other attempts"


def leaves_the_model_alone(case: AttackCase) -> None:
    """Weights, hooks, training flags and who asks for gradients are as before."""
    before = state_of(case.model)
    case.of(case.rows)
    assert state_of(case.model) == before, "the attack changed the model"
    assert not case.model.is_edited, "the attack left the edit in place"


def tells_the_truth(case: AttackCase) -> None:
    """Drawn again with the edit in place, a prompt succeeds if and only if its attempt says so."""
    tries = [
        Try(row, one.prompt, one.given, one.seed)
        for row, one in zip(case.rows, case.attempts, strict=True)
        if one.images
    ]
    with case.model.edited(case.edit):
        found = tried(case.model, tries, case.judge, **case.sampling) if tries else None
    said = [one.success for one in case.attempts if one.images]
    assert found is None or found.success.tolist() == said, "an attempt's success is not what the judge sees"


def reports_its_progress(case: AttackCase) -> None:
    """Labels are given to whoever listens, and what comes out does not depend on it."""
    watch = Watch()
    assert all(map(alike, case.of(case.rows, progress=watch), case.attempts)), "the listener changed the attempts"
    assert all(watch.labels), "progress was reported without a label"


def alike(one: Attempt, other: Attempt) -> bool:
    """Whether two attempts are the same, up to how numbers round."""
    if one._replace(given=None) != other._replace(given=None):
        return False
    return one.given is other.given or (one.given is not None and _near(one.given, other.given))


def _near(one: NotText, other: NotText | None) -> bool:
    if type(one) is not type(other):
        return False
    first, second = (_parts(given) for given in (one, other))
    return len(first) == len(second) and all(
        torch.allclose(a, b, atol=CLOSE) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
        for a, b in zip(first, second, strict=True)
    )


def _parts(given: Any) -> list[Any]:
    """The tensors and texts of what is given, in the order of its fields."""
    if isinstance(given, (list, tuple)):
        return [part for one in given for part in _parts(one)]
    if isinstance(given, dict):
        return [part for name in sorted(given) for part in _parts(given[name])]
    if is_dataclass(given):
        return [part for one in fields(given) for part in _parts(getattr(given, one.name))]
    return [given]


ATTACK_CHECKS: dict[str, Callable[[AttackCase], None]] = {
    check.__name__: check
    for check in (
        is_a_described_attack,
        answers_each_row,
        brings_its_control,
        does_not_look_beside,
        repeats_itself,
        leaves_the_model_alone,
        tells_the_truth,
        reports_its_progress,
    )
}
