"""A condition of several fits: each makes its share of the prompts, and how much fits differ is in the intervals."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.evaluation.drawn import drawn_run, suite
from tests.evaluation.small import Brightness, Scaled
from tests.evaluation.small import suite as small_suite
from workbench.conditions import UNEDITED
from workbench.evaluation.differences import best_methods
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.evaluation.tables import fit_rates, metrics
from workbench.reports.report import report


def kept(row: Row) -> str:
    return row.expected


def erased(row: Row) -> str:
    return "nothing" if row.expected == "red" else row.expected


def by_share(row: Row) -> str:
    """What three fits would paint of which only the first erases: one fit that does so on the same prompts."""
    return erased(row) if int(row.prompt.split(", ")[1]) % 3 == 0 else row.expected


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    paints = {"three": (erased, kept, kept), "one": by_share, "no-op": kept}
    return drawn_run(tmp_path_factory.mktemp("fits") / "run", paints, suite(n=12))


def test_each_fit_makes_its_share_of_the_prompts_of_every_role(run: Run) -> None:
    records = run.rows("three")
    assert not records.duplicated(["prompt", "seed"]).any() and len(records) == len(run.rows(UNEDITED))
    assert (records.groupby("prompt")["edit"].nunique() == 1).all(), "the seeds of a prompt stay together"
    shares = records.groupby(["role", "edit"])["prompt"].nunique().unstack()
    assert shares.loc["target"].tolist() == shares.loc["neighbour"].tolist() == [4, 4, 4]
    assert shares.loc["unrelated"].tolist() == [8, 8, 8]
    assert set(run.rows("one")["edit"]) == {"one-hash"}


def test_fits_that_differ_widen_the_interval_beyond_that_of_the_same_pictures_by_one_fit(run: Run) -> None:
    efficacy = metrics(run).query("metric == 'efficacy'").set_index("condition")
    three, one = efficacy.loc["three"], efficacy.loc["one"]
    assert three["value"] == one["value"] == pytest.approx(1 / 3)
    assert (three["fits"], one["fits"], three["prompts"]) == (3, 1, 12)
    assert three["low"] < 1e-9 and three["high"] > 0.9, "another three fits may all erase, or none of them"
    assert one["low"] > 0.05 and one["high"] < 0.7


def test_conditions_with_more_and_fewer_fits_meet_the_same_draws(run: Run) -> None:
    efficacy = best_methods(run).query("metric == 'efficacy'").set_index("condition")
    assert efficacy[["gap", "gap_low", "gap_high"]].to_numpy().tolist() == [[0, 0, 0]] * 2


def test_the_cells_of_the_fits_are_a_table_of_their_own(run: Run) -> None:
    table = fit_rates(run)
    efficacy = table[(table["condition"] == "three") & (table["metric"] == "efficacy")]
    assert efficacy[["seed", "value", "n", "prompts"]].to_numpy().tolist() == [[0, 1, 8, 4], [1, 0, 8, 4], [2, 0, 8, 4]]
    assert set(table["condition"]) == {"three"}, "what was fitted once has no cells"


def test_a_run_with_fits_is_opened_again_and_reported(run: Run, tmp_path: Path) -> None:
    assert Run.open(run.dir).spec == run.spec and not run.spec.difference(Run.open(run.dir).spec)
    assert [edit.hash for edit in run.spec.edits] == [
        "three-hash", "three-hash1", "three-hash2", "one-hash", "no-op-hash",
    ]  # fmt: skip
    page = report(run, tmp_path / "report.html").read_text()
    assert "3 fits" in page and "three-ha" in page


def test_fits_of_nothing_and_unequally_many_are_refused(run: Run) -> None:
    (trial,), edit = run.spec.trials, run.spec.edits[0]
    content = trial.model_dump()
    for refits, says in (({UNEDITED: [edit]}, "no edit"), ({"three": [edit], "one": [edit, edit]}, "unequally many")):
        with pytest.raises(ValidationError, match=says):
            type(trial).model_validate({**content, "refits": refits})


def test_an_evaluation_makes_each_picture_with_one_of_the_fits(tiny_sd1, tmp_path: Path) -> None:
    fits = (Scaled(-1.0), Scaled(0.5), Scaled(2.0))
    made = evaluate(tiny_sd1, {"scaled": fits}, small_suite(), Brightness(), tmp_path / "run", steps=1)
    trial = made.spec.trials[0]
    assert [edit.settings["factor"] for edit in trial.fits("scaled")] == [-1, 0.5, 2]
    assert len(made.spec.cells()) == 2 * len(trial.rows)
    for place, edit in trial.edits_of("scaled").items():
        assert edit is trial.fits("scaled")[0], "each role has one prompt here, which is the first fit's"
        assert made.image_path(made.spec.cell(edit, trial.rows[place]).key).exists()
