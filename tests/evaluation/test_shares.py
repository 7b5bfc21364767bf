"""Shares: prompts are dealt out among fits, and what attacks one fit stays with it."""

import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import spec
from workbench.evaluation.shares import shares_of
from workbench.evaluation.spec import EditSpec
from workbench.evaluation.suites import Suite, SuiteRow

ROWS = tuple(SuiteRow(f"red {name}", "target", "red", seed) for name in "abc" for seed in (1, 2))
FITS = tuple(
    EditSpec(hash=f"fit-{seed}", kind="weight", method="m", concepts=("red",), settings={}, seed=seed)
    for seed in (0, 1)
)


def test_rows_of_one_prompt_stay_together_and_roles_are_dealt_out_apart():
    others = tuple(SuiteRow(f"blue {name}", "neighbour", "blue", 1) for name in "ab")
    assert shares_of(ROWS, 2) == (0, 0, 1, 1, 0, 0)
    assert shares_of((*ROWS[:2], *others), 2) == (0, 0, 0, 1)


def test_a_row_that_says_its_share_has_it_and_moves_no_other():
    attacked = SuiteRow("red c", "target", "red", 9, share=0)
    assert shares_of((ROWS[0], attacked, *ROWS[1:]), 2) == (0, 0, 0, 1, 1, 0, 0)
    assert shares_of((SuiteRow("red b", "target", "red", 9, share=0), *ROWS), 2)[1:] == shares_of(ROWS, 2)


def test_the_fit_that_was_attacked_makes_the_row():
    rows = (*ROWS, SuiteRow("red b", "target", "red", 9, "m", share=0))
    (trial,) = spec({"m": FITS}, Suite("red", rows)).trials
    assert trial.edits_of("m")[6] == FITS[0] and trial.edits_of("m")[2] == FITS[1], "the prompt's own share is 1"


def test_a_share_of_no_fit_is_refused():
    rows = (*ROWS, SuiteRow("red b", "target", "red", 9, "m", share=2))
    with pytest.raises(WorkbenchError, match="share 2 of 2"):
        spec({"m": FITS}, Suite("red", rows))
