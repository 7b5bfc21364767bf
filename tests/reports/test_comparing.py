"""A report of several methods says which are best, which are not, what they cost, and what an order changes."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from tests.evaluation.drawn import drawn_run, suite
from tests.evaluation.test_differences import leaves, ordered_run
from tests.reports.test_report import loads, without_scripts
from workbench.evaluation.differences import best_methods, order_effects
from workbench.evaluation.results import Results
from workbench.evaluation.suites import Suite
from workbench.evaluation.tables import metrics_with_all
from workbench.reports.comparing import order_headings, order_rows, ranking
from workbench.reports.costs import costs, duration
from workbench.reports.report import report
from workbench.reports.sheets import A_ROLE, grid
from workbench.reports.summary import summary_rows


def forgets_but(*numbers):
    """Paints no target but for these prompt numbers, whatever the target is."""
    return lambda row: (
        "orange" if row.role in ("target", "synonym") and int(row.prompt[-1]) not in numbers else row.expected
    )


def of_blue():
    """A second suite, whose images are its own."""
    rows = suite("blue", "green", n=8).rows
    own = [row for row in rows if (row.role, row.expected) != ("unrelated", "blue")]
    return Suite("blue", tuple(replace(row, seed=row.seed + 10) for row in own), anchor="orange")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    paints = {
        "good": forgets_but(), "worse": forgets_but(0, 1, 2, 3), "no-op": lambda row: row.expected,
        "random features": lambda row: row.expected,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("comparing") / "run"
    made = drawn_run(folder, paints, suite(n=8), of_blue())
    (folder / "fits").mkdir()
    for key, (edit, seconds) in {"a": ("good-hash", 2.0), "b": ("worse-hash", 150.0)}.items():
        record = {"method": "m", "concepts": ["red"], "edit": edit, "seconds": seconds}
        (folder / "fits" / f"{key}.json").write_text(json.dumps(record))
    return made


@pytest.fixture(scope="module")
def body(run):
    return without_scripts(report(run, run.dir / "report.html").read_text(encoding="utf-8"))


def test_the_ranking_names_what_differs_and_what_does_not(run):
    sentences = ranking(metrics_with_all(run), best_methods(run))
    assert sentences[0].startswith("Efficacy: good (100\u202f%) is best; worse (50\u202f%, by ")
    assert sentences[-1] == (
        "No method can be told from the best in neighbour specificity (100\u202f%), unrelated specificity (100\u202f%) "
        "and intact (100\u202f%)."
    )


def test_edits_of_several_concepts_are_told_apart_from_others(tmp_path):
    run = ordered_run(tmp_path / "run")
    sentences = ranking(metrics_with_all(run), best_methods(run))
    assert sentences[0].startswith("Several concepts in one edit, efficacy: uce: red then blue (100\u202f%)")
    assert all(sentence.startswith("Several concepts in one edit, ") for sentence in sentences)


def test_one_method_has_no_rivals(tmp_path):
    run = drawn_run(tmp_path / "run", {"only": leaves(), "no-op": lambda row: row.expected})
    assert ranking(metrics_with_all(run), best_methods(run)) == []
    page = report(run, tmp_path / "report.html").read_text()
    assert "Bold:" not in page and "Method by method" not in page


def test_the_best_are_marked_in_the_table_and_no_control_is(run):
    rows = summary_rows(metrics_with_all(run), best_methods(run))
    efficacy = {row.condition: row.cells[0].best for row in rows if row.concept == "all"}
    assert efficacy == {"unedited": False, "good": True, "worse": False, "no-op": False, "random features": False}
    assert [row.method for row in rows[:5]] == [False, True, True, False, False]
    unmarked = summary_rows(metrics_with_all(run), pd.DataFrame())
    assert not any(cell.best for row in unmarked for cell in row.cells if cell)


def test_the_page_shows_methods_side_by_side(body):
    found = loads(body)
    assert {"intervals", "methods-scatter"} <= set(found.ids)
    assert body.count('class="sheet methods"') == 2  # a grid a concept
    assert "good (100" in body and "What each method costs" in body
    assert re.search(r'<td class="best">100', body)
    assert found.tags["details"] == 5  # concepts of table and figures, more prompts of each, the other method's matrix
    assert set(found.links) <= set(found.ids) and len(set(found.ids)) == len(found.ids)


def test_costs_are_those_of_the_fits(run):
    first, second = costs(Results.of(run))
    assert (first.condition, first.fit, first.image) == ("good", "2 s", "1.00 ×")
    assert (second.condition, second.fit) == ("worse", "2.5 min")
    assert [duration(seconds) for seconds in (0.0421, 12.3, 600.0)] == ["0.042 s", "12 s", "10 min"]


def test_what_was_not_timed_is_a_dash(tmp_path):
    run = drawn_run(tmp_path / "run", {"a": leaves(), "b": leaves()})
    assert [cost.fit for cost in costs(Results.of(run))] == ["–", "–"]


def test_a_grid_has_prompts_of_every_role_under_every_condition(run):
    shown = grid(Results.of(run), run.spec.trials[0])
    assert shown.conditions == ["unedited", "good", "worse", "no-op", "random features"]
    assert [row.role for row in shown.rows] == [
        role for role in ("target", "synonym", "neighbour", "unrelated") for _ in range(A_ROLE)
    ]
    for row in shown.rows:
        assert len({picture.text.split(": ", 1)[1].rsplit(":", 1)[0] for picture in row.pictures}) == 1
        assert [picture.text.split(":")[0] for picture in row.pictures] == shown.conditions


def test_an_order_is_told_in_points(tmp_path):
    effects = order_effects(ordered_run(tmp_path / "run"))
    (row,) = order_rows(effects)
    assert (row.there, row.back) == ("uce: red then blue", "uce: blue then red")
    efficacy = row.cells[order_headings(effects).index("efficacy")]
    assert efficacy[0] == "+75" and efficacy[2]
    assert row.cells[order_headings(effects).index("far kept")] == ("0", "0 to 0", False)
    page = report(ordered_run(tmp_path / "run"), tmp_path / "report.html").read_text()
    assert "What the order of erasures changes" in page
