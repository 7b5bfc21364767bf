"""What publications say of methods is held against a run: shown, not shown, or left open."""

from pathlib import Path

import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import drawn_run, suite
from workbench.comparison.plan import read_comparison
from workbench.comparison.published import PublishedOrder, check_published, read_published, verdict
from workbench.conditions import RECONSTRUCTED, marked
from workbench.evaluation.roles import ROLES, rates
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.reports.report import report
from workbench.toy import all_methods

STUDIES = Path(__file__).parents[2] / "studies" / "comparisons"


def leaves(*numbers: int):
    """Paints the target for these prompt numbers, its anchor for all others."""
    return lambda row: row.expected if row.expected != "red" or int(row.prompt.split(", ")[1]) in numbers else "orange"


def noise(row: Row) -> str:
    return "noise"


def order(better: str, *than: str, metric: str = "generality") -> PublishedOrder:
    return PublishedOrder(better=better, than=than, metric=metric, source="a paper", published="a figure")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    paints = {
        "RECE": leaves(), "UCE": leaves(*range(6)), "near UCE": leaves(*range(5), 6), marked("RealEra"): leaves(),
        "broken": noise,
    }  # fmt: skip
    return drawn_run(tmp_path_factory.mktemp("published") / "run", paints, suite(n=12))


def told(run: Run, *orders: PublishedOrder) -> pd.DataFrame:
    return check_published(run, orders).set_index(["better", "than"])


def test_an_order_that_the_run_shows_is_shown_with_its_difference(run: Run) -> None:
    row = told(run, order("RECE", "UCE")).loc["RECE", "UCE"]
    assert (row["better_value"], row["than_value"], row["difference"]) == (1, 0.5, 0.5)
    assert 0 < row["low"] < 0.5 < row["high"] and row["verdict"] == "shown" and row["prompts"] == 12
    assert (row["source"], row["published"]) == ("a paper", "a figure")


def test_the_reverse_of_it_is_not_shown(run: Run) -> None:
    row = told(run, order("UCE", "RECE")).loc["UCE", "RECE"]
    assert row["verdict"] == "not shown" and row["high"] < 0


def test_one_prompt_more_and_one_less_leave_it_open(run: Run) -> None:
    row = told(run, order("UCE", "near UCE")).loc["UCE", "near UCE"]
    assert row["difference"] == 0 and row["low"] < -0.05 and row["high"] > 0.05 and row["verdict"] == "undecided"


def test_no_difference_in_a_few_prompts_is_not_none(run: Run) -> None:
    """The bootstrap alone would give 0 to 0."""
    row = told(run, order("RECE", "RealEra")).iloc[0]
    assert row["difference"] == 0 and row["high"] > 0.05 and row["verdict"] == "undecided"


def test_reconstructions_are_found_by_their_names_and_keep_their_mark(run: Run) -> None:
    assert list(told(run, order("RealEra", "UCE")).index) == [(f"RealEra {RECONSTRUCTED}", "UCE")]


def test_what_the_run_did_not_measure_is_left_out(run: Run) -> None:
    orders = [order("RECE", "TRCE"), order("SPM", "UCE"), order("RECE", "UCE", metric="implied_efficacy")]
    assert check_published(run, orders).empty and "verdict" in check_published(run, orders)


def test_a_condition_that_breaks_pictures_is_not_ranked(run: Run) -> None:
    row = told(run, order("broken", "UCE")).loc["broken", "UCE"]
    assert row["verdict"] == "damaged" and row["difference"] != row["difference"]


def test_several_concepts_are_judged_together(tmp_path: Path) -> None:
    both = drawn_run(tmp_path / "run", {"RECE": leaves(), "UCE": leaves(0, 1, 2)}, suite(), suite("blue", "green"))
    row = told(both, order("RECE", "UCE")).iloc[0]
    assert len(told(both, order("RECE", "UCE"))) == 1 and row["prompts"] == 8
    assert row["low"] <= 0, "shown for one of two concepts: another two may not"


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.01, 0.03, "shown"), (0.0, 0.04, "not shown"), (-0.3, 0.049, "not shown"), (-0.01, 0.2, "undecided")],
)
def test_verdicts_are_those_of_the_interval(low: float, high: float, says: str) -> None:
    assert verdict(low, high) == says


def test_the_published_orders_are_about_rates_and_conditions_that_there_are() -> None:
    orders = read_published()
    files = [all_methods(), STUDIES / "implied.yaml"]
    known = {name for path in files for name in read_comparison(path).methods}
    for one in orders:
        assert one.metric in rates(ROLES.values()) and {one.better, *one.than} <= known
        assert one.source.startswith("arXiv:") and one.published and one.better not in one.than
    assert {one.better for one in orders} >= {"RECE", "TRCE", "RealEra", "SAeUron", "ItD"}


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text("orders: [{beter: a, than: [b], metric: efficacy, source: c, published: d}]")
    with pytest.raises(WorkbenchError, match=r"orders\.0\.beter: there is no such key"):
        read_published(tmp_path / "orders.yaml")


def test_the_report_has_them(run: Run, tmp_path: Path) -> None:
    page = report(run, tmp_path / "report.html").read_text()
    assert "What publications say" in page and "2407.12383" in page and "2501.18052" not in page
