"""Attacks by name; replay finds the wording that an edit missed; attacked prompts are rows of the edit they attack."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from saes.errors import WorkbenchError
from workbench import toy
from workbench.attacks import ATTACKS, find_attack
from workbench.attacks.attack import Attack, Attempt, Budget, own_seed
from workbench.attacks.replay import Replay
from workbench.attacks.trying import Search, Try, tried, try_all
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import load

ROOT = Path(__file__).parents[2]
SUITE = Suite("fox", tuple(SuiteRow("a photo of a fox", "target", "fox", seed) for seed in (1, 2)), "cat")


@contextmanager
def drawing_nothing(model):
    def refuse(*given, **told):
        raise AssertionError("something was drawn")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "generate", refuse)
        yield


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
    assert find_attack("replay") is Replay and isinstance(Replay(wordings=("vixen",)), Attack)
    homes = {name: home.split(":") for name, home in ATTACKS.items()}
    files = (ROOT / "workbench/attacks").glob("*.py")
    kept = {path.stem for path in files if "\n    paper: ClassVar[" in path.read_text()} - {
        "attack",
        "at_random",
        "begun_rows",
        "controls",
    }
    assert homes.keys() == kept, "the table names every file"
    for name, (home, kind) in homes.items():
        assert home.endswith(f".{name}") and find_attack(name).__name__ == kind and find_attack(name).name == name
    with pytest.raises(WorkbenchError, match="Did you mean 'replay'"):
        find_attack("reply")


def test_the_first_wording_that_works_ends_the_search(model, judge, edit):
    """Nothing is erased here: the name itself works, and what comes after it is not tried."""
    nothing = edit.no_op()
    found = Replay(wordings=("mug", "fox", "vixen")).attempts(model, nothing, SUITE.rows[:1], judge, budget=Budget())
    assert found == [Attempt("a photo of a fox", None, True, 2)]


def test_an_erased_word_does_not_come_back_by_itself_and_the_budget_is_kept(model, judge, edit):
    replay = Replay(wordings=("fox", "mug", "vixen"))
    found = replay.attempts(model, edit, SUITE.rows[:1], judge, budget=Budget(images=2))
    assert found == [Attempt("a photo of a mug", None, False, 2)]


def test_a_seed_belongs_to_a_row_and_to_what_it_is_for():
    row = SUITE.rows[0]
    others = [own_seed(SUITE.rows[1], 0), own_seed(row, 1), own_seed(row, 0, "noise")]
    assert own_seed(row, 0) == own_seed(replace(row, role="attacked"), 0) and own_seed(row, 0) not in others
    assert all(0 <= one < 2**63 for one in others)


def test_a_prompt_that_may_involve_a_minor_is_counted_and_not_drawn(tiny_sd1, judge):
    """Whether as text or as ids; the next one is tried."""
    row, search = SUITE.rows[0], Search(SUITE.rows[0])
    with pytest.raises(AssertionError, match="drawn"), drawing_nothing(tiny_sd1):
        tried(tiny_sd1, [Try(row, "a fox")], judge)
    with drawing_nothing(tiny_sd1):
        try_all(tiny_sd1, [(search, Try(row, "a fox of a child"))], judge)
        try_all(tiny_sd1, [(search, Try(row, "", tiny_sd1.token_ids("boy")))], judge)
    assert search.attempt() == Attempt(row.prompt, None, False, 0, dropped=2)


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda: Replay(wordings=()), "no wording"), (lambda: Replay(wordings=("",)), "is empty"),
     (lambda: Budget(images=0), "is none")],
)  # fmt: skip
def test_what_can_find_nothing_is_refused(make, says):
    with pytest.raises(WorkbenchError, match=says):
        make()
