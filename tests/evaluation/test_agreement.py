"""Two judges of one run, side by side: on unedited and on edited pictures, condition by condition."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import COLOURS, ColourJudge, drawn_run, suite
from workbench.evaluation.agreement import judge_agreement
from workbench.evaluation.judges import Scores
from workbench.evaluation.judging import judge
from workbench.evaluation.runs import Run


@dataclass(frozen=True)
class BlindToOrange(ColourJudge):
    """Takes orange for red, as a judge does that never saw the one without the other; does not tell what is broken."""

    name: str = "blind to orange"

    def score(self, images: np.ndarray, prompts: list[str]) -> Scores:
        present = super().score(images, prompts).present.copy()
        names = list(COLOURS)
        present[:, names.index("red")] = present[:, [names.index("red"), names.index("orange")]].max(axis=1)
        return Scores(present)


def to_orange(row) -> str:
    return "orange" if row.expected == "red" else row.expected


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = drawn_run(
        tmp_path / "run", {"erased": to_orange, "gone": lambda row: "nothing", "no-op": lambda row: row.expected}
    )
    return judge(made, BlindToOrange())


def test_judges_that_agree_on_unedited_pictures_may_not_on_edited_ones(run: Run) -> None:
    table = judge_agreement(run).set_index(["condition", "wanted"])
    assert table.loc[("unedited", "any"), "rate"] == table.loc[("no-op", "any"), "rate"] == 1
    assert table.loc[("erased", "absent"), "rate"] == 0, "every orange disc is taken for a red one"
    assert table.loc[("erased", "present"), "rate"] == 1 == table.loc[("gone", "any"), "rate"]
    assert list(table.loc[("erased", "absent"), ["first", "second"]]) == [0, 1]
    erased = table.loc[("erased", "any")]
    assert erased["n"] == 40 and erased["rate"] == 24 / 40 and erased["kappa"] == 0, "one says yes to everything"
    assert erased["rate_low"] < erased["rate"] < erased["rate_high"] and erased["prompts"] == 20


def test_the_methods_together_are_without_controls(run: Run) -> None:
    table = judge_agreement(run).set_index(["condition", "wanted"])
    assert table.loc[("edited", "any"), "n"] == 80
    assert table.loc[("edited", "any"), "rate"] == pytest.approx((24 + 40) / 80)
    assert table.loc[("edited", "any"), "kappa"] == pytest.approx((0.8 - 0.5) / 0.5), "shares .3 and .5 of yes"
    assert list(dict.fromkeys(table.index.get_level_values("condition"))) == [
        "unedited", "edited", "erased", "gone", "no-op"
    ]  # fmt: skip


def test_a_picture_of_several_suites_counts_once(tmp_path: Path) -> None:
    one = suite()
    twice = drawn_run(tmp_path / "run", {"gone": lambda row: "nothing"}, one, replace(one, name="again"))
    table = judge_agreement(judge(twice, BlindToOrange())).set_index(["condition", "wanted"])
    assert table.loc[("unedited", "any"), "n"] == len(one.rows)


def test_either_order_tells_the_same(run: Run) -> None:
    one, other = judge_agreement(run), judge_agreement(run, "blind to orange", "colour of the middle")
    swapped = {"first": "second", "second": "first", "first_judge": "second_judge", "second_judge": "first_judge"}
    pd.testing.assert_frame_equal(one, other.rename(columns=swapped)[list(one)])


def test_it_takes_two(run: Run, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="colour of the middle alone"):
        judge_agreement(drawn_run(tmp_path / "alone", {"gone": lambda row: "nothing"}))
    with pytest.raises(WorkbenchError, match="agrees with itself"):
        judge_agreement(run, "blind to orange", "blind to orange")
    with pytest.raises(WorkbenchError, match="Unknown judge"):
        judge_agreement(run, "blind to red")
