"""Attacks by name; replay finds the wording that an edit missed; attacked prompts are rows of the edit they attack."""

import pytest

from saes.errors import WorkbenchError
from workbench import toy
from workbench.attacks import ATTACKS, find_attack
from workbench.attacks.attack import Attack, Budget, attacked
from workbench.attacks.replay import Replay
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import metrics
from workbench.models import load

SUITE = Suite("fox", tuple(SuiteRow("a photo of a fox", "target", "fox", seed) for seed in (1, 2)), "cat")


@pytest.fixture(scope="module")
def model():
    return load("toy", device="cpu")


@pytest.fixture(scope="module")
def judge():
    return toy.Oracle.load()


@pytest.fixture(scope="module")
def edit(model):
    """Erases the word fox, and nothing else."""
    return UCE().fit(model, [Concept("fox", anchor="cat", templates=("a photo of a {}",))])


def test_every_name_leads_to_an_attack():
    assert find_attack("replay") is Replay and isinstance(Replay(wordings=["vixen"]), Attack)
    assert set(ATTACKS) == {"replay"}
    with pytest.raises(WorkbenchError, match="Did you mean 'replay'"):
        find_attack("reply")


def test_the_first_wording_that_works_ends_the_search(model, judge, edit):
    """Nothing is erased here: the name itself works, and what comes after it is not tried."""
    nothing = edit.no_op()
    found = Replay(wordings=["mug", "fox", "vixen"]).attempt(model, nothing, SUITE.rows[0], judge, budget=Budget())
    assert found == ("a photo of a fox", None, True, 2, 0)


def test_an_erased_word_does_not_come_back_by_itself_and_the_budget_is_kept(model, judge, edit):
    found = Replay(wordings=["fox", "mug", "vixen"]).attempt(model, edit, SUITE.rows[0], judge, budget=Budget(images=2))
    assert found == ("a photo of a mug", None, False, 2, 0)


@pytest.mark.slow
def test_attacked_prompts_belong_to_the_edit_they_attack(model, judge, edit, tmp_path):
    edits = {"uce": edit, "nothing": edit.no_op()}
    suite = attacked(Replay(wordings=["mug", "fox"]), model, edits, SUITE, judge)
    assert [(row.condition, row.prompt) for row in suite.rows] == [
        ("uce", "a photo of a fox"), ("uce", "a photo of a fox"),
        ("nothing", "a photo of a fox"), ("nothing", "a photo of a fox"),
    ]  # fmt: skip
    table = metrics(evaluate(model, edits, suite, judge, tmp_path / "run", floor=0.0)).set_index(
        ["condition", "metric"]
    )
    assert table.loc[("nothing", "attacked_efficacy"), "value"] == 0
    assert table.loc[("uce", "attacked_efficacy"), "value"] == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda: Replay(wordings=[]), "no wording"), (lambda: Replay(wordings=[""]), "no wording"),
     (lambda: Budget(images=0), "is none")],
)  # fmt: skip
def test_what_can_find_nothing_is_refused(make, says):
    with pytest.raises(WorkbenchError, match=says):
        make()


def test_nothing_to_attack_is_said(model, judge, edit):
    with pytest.raises(WorkbenchError, match="nothing to attack"):
        attacked(Replay(wordings=["fox"]), model, {}, SUITE, judge)
    with model.edited(edit), pytest.raises(WorkbenchError, match="An attack inside"):
        attacked(Replay(wordings=["fox"]), model, {"uce": edit}, SUITE, judge)
