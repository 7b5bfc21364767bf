"""The front of a comparison's report: for each task the method that does best, with its figures and its equals."""

import pandas as pd
import pytest

from tests.evaluation.drawn import COLOURS, ColourJudge, drawn_run, suite
from tests.reports.test_comparing import of_blue
from tests.reports.test_report import loads, without_scripts
from workbench.evaluation.judging import judge
from workbench.evaluation.results import Results
from workbench.reports.advice import advice
from workbench.reports.costs import costs
from workbench.reports.report import report


def erases(row):
    return "nothing" if row.role in ("target", "synonym") else row.expected


def spares_no_neighbour(row):
    return "nothing" if row.role == "neighbour" else erases(row)


def does_nothing(row):
    return row.expected


PAINTS = {"uce": erases, "rece": spares_no_neighbour, "trce": does_nothing, "esd": erases, "spm": does_nothing}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return drawn_run(tmp_path_factory.mktemp("advice") / "run", PAINTS, suite(n=12))


def lines(run, robust=None, judge=""):
    results = Results.of(run, judge)
    return {line.task: line for line in advice(results, costs(results), robust)}


def attacked(post):
    """A table of attacks in which each condition shows the concept in these shares."""
    return pd.DataFrame(
        [{"condition": name, "attack": "cce", "post": value, "post_low": value - 0.05, "post_high": value + 0.05}
         for name, value in post.items()]
    )  # fmt: skip


def test_the_best_of_all_is_told_with_what_cannot_be_told_from_it(run):
    line = lines(run)["any of them"]
    assert {line.use, *line.equals} == {"uce", "esd"} and line.n == 5
    assert [value for value, _ in line.cells] == ["100\u202f%"] * 5
    assert all(interval.endswith("–100") and not interval.startswith("100") for _, interval in line.cells)


def test_a_task_for_which_too_few_compete_has_no_line(run):
    found = lines(run)
    assert "by training" not in found  # esd and spm alone
    assert found["without training"].use == "uce" and not found["without training"].equals
    assert not any(task.startswith("erase") for task in found)  # one kind, and no edit of several concepts


def test_where_nothing_erases_nothing_is_advised(tmp_path):
    run = drawn_run(tmp_path / "run", dict.fromkeys(("uce", "rece", "trce"), does_nothing), suite(n=4))
    assert lines(run)["any of them"].use.startswith("none") and not lines(run)["any of them"].others


def test_under_attack_what_is_brought_back_counts_as_much_as_what_was_erased_and_spared(run):
    posts = {"unedited": 1, "uce": 0.5, "esd": 0.3, "rece": 0.1, "trce": 0.1, "spm": 0.1}
    line = lines(run, attacked(posts))["under attack"]
    assert (line.use, line.equals, line.n) == ("esd", [], 5)  # the last three resist, but erase or spare nothing
    assert line.attacked == ("30\u202f% by cce", "25–35")
    assert lines(run, attacked({**posts, "uce": 0.33}))["under attack"].equals == ["uce"]
    assert lines(run)["any of them"].attacked == ("", "")


class TwoKinds(ColourJudge):
    """To whom two of the colours are warm."""

    @property
    def concepts(self):
        return {name: "warm" if name in ("red", "orange") else "cold" for name in COLOURS}


def test_each_kind_of_concept_has_a_line_of_its_own(tmp_path):
    def red_alone(row):
        return row.expected if row.expected == "blue" else erases(row)

    paints = {"uce": erases, "rece": red_alone, "trce": does_nothing}
    made = drawn_run(tmp_path / "run", paints, suite(n=8), of_blue())
    found = lines(judge(made, TwoKinds(name="two kinds")), judge="two kinds")
    assert found["erase a warm"].equals and found["erase a warm"].about == "red"
    assert found["erase a cold"].use == "uce" and not found["erase a cold"].equals


def test_the_page_opens_with_it(run, tmp_path):
    page = report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    body = without_scripts(page)
    assert body.index("What to use when</h2>") < body.index(">Summary</h2>")
    assert 'href="#trade">without training</a>' in body and {"trade", "advice"} <= set(loads(page).ids)
