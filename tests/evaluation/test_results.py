"""Results are computed once, and suites, roles and conditions never run into each other."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.evaluation.counting import counted
from tests.evaluation.drawn import drawn_run, suite
from workbench.evaluation import results as results_file
from workbench.evaluation.differences import best_methods, order_effects
from workbench.evaluation.results import Results
from workbench.evaluation.roles import Role
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import concept_matrix, metrics, metrics_with_all, titled, verdict_shares
from workbench.reports.report import report

ATTACK = Role(name="attack", metric="robustness", wanted="absent", label="attacks one edit", named=False)


def right(row: Row) -> str:
    return row.expected


def erased(row: Row) -> str:
    return "nothing" if row.expected == "red" and row.role != "attack" else row.expected


def test_a_report_reads_the_records_once_and_measures_each_condition_once(tmp_path: Path) -> None:
    paints = {"a": right, "b": erased, "no-op": right}
    run = drawn_run(tmp_path / "run", paints, suite(), suite("blue", "green"))
    with counted(Run, "records") as reads, counted(results_file, "measured") as measurements:
        report(run, tmp_path / "report.html")
    assert len(reads) == 1
    assert len(measurements) == 3 * 4  # red, blue and both together, under four conditions


def test_tables_of_the_same_results_measure_nothing_anew(tmp_path: Path) -> None:
    results = Results.of(drawn_run(tmp_path / "run", {"a": erased, "b": right}))
    table = metrics(results)
    with counted(results_file, "measured") as measurements:
        assert best_methods(results)["among_best"].any() and order_effects(results).empty
        pd.testing.assert_frame_equal(metrics(results), table)
    assert not measurements


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two suites about red: the edit erases it from the easy one alone."""
    easy = suite()
    hard = replace(easy, name="hard", rows=tuple(replace(row, prompt=f"hard: {row.prompt}") for row in easy.rows))

    def easily(row: Row) -> str:
        return row.expected if row.prompt.startswith("hard") else erased(row)

    return drawn_run(tmp_path_factory.mktemp("two") / "run", {"a": easily, "b": right}, easy, hard)


def test_two_suites_about_one_concept_do_not_collide(two: Run) -> None:
    table = metrics(two).set_index(["suite", "concept", "condition", "metric"])
    assert table.index.is_unique
    assert table.loc[("red", "red", "a", "efficacy"), "value"] == 1
    assert table.loc[("hard", "red", "a", "efficacy"), "value"] == 0
    assert not best_methods(two).duplicated(["suite", "concept", "condition", "metric"]).any()
    assert not concept_matrix(two).duplicated(["suite", "erased", "concept", "condition"]).any()
    assert verdict_shares(two).groupby(["suite", "concept", "condition", "role"])["share"].sum().eq(1).all()
    assert len(two.rows("a", "red", "hard")) == len(two.rows("a", "red")) / 2


def test_people_read_which_suite_is_meant(two: Run, tmp_path: Path) -> None:
    assert set(titled(metrics_with_all(two))["concept"]) == {"all", "red (red)", "red (hard)"}
    page = report(two, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a leaves the target in more than 10\u202f% of the images whose prompt names it: red (hard)" in page
    assert "<h3>red (hard)</h3>" in page and "<h3>red (red)</h3>" in page


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Prompts that attack one of two edits: the same words against both, and one against the first alone."""
    rows = [SuiteRow("xq fx", "attack", "red", 1, name) for name in ("a", "b")]
    own = Suite("red", (*suite().rows, *rows, SuiteRow("zz", "attack", "red", 2, "a")), "orange", roles=(ATTACK,))
    return drawn_run(tmp_path_factory.mktemp("attacked") / "run", {"a": erased, "b": erased, "no-op": right}, own)


def test_rows_of_one_condition_are_made_by_it_and_by_the_unedited_model_alone(attacked: Run) -> None:
    records = attacked.records()
    own = records[records["role"] == "attack"]
    assert own.groupby("condition").size().to_dict() == {"unedited": 3, "a": 2, "b": 1}
    assert len(attacked.spec.cells()) == 4 * len(suite().rows) + 2 + 2 + 1  # unedited, the two of a, the one of b
    assert not own[["condition", "row"]].duplicated().any()


def test_an_attack_counts_in_its_own_metric_of_its_own_condition(attacked: Run, tmp_path: Path) -> None:
    table = metrics(attacked).set_index(["condition", "metric"])
    assert table.loc[("a", "efficacy"), "value"] == 1 and table.loc[("a", "robustness"), "value"] == 0
    assert table.loc[("a", "robustness"), ["n", "unedited"]].tolist() == [2, 0]
    assert table.loc[("b", "robustness"), "n"] == 1
    assert ("no-op", "robustness") not in table.index
    page = report(attacked, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a leaves the target in more than 10\u202f% of the images of the role attack" in page
    assert "“attack” (attacks one edit)" in page and "<th>robustness</th>" in page
