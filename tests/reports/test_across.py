"""Runs of several models in one report: only where they asked the same, and each figure as its own run has it."""

from dataclasses import replace

import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import MODEL, ColourJudge, drawn_run, suite
from tests.reports.made_up import evidence
from tests.reports.test_report import loads
from workbench.cli.main import main
from workbench.evaluation.judging import judge
from workbench.evaluation.results import Results
from workbench.evaluation.suites import Suite
from workbench.evaluation.tables import metrics_with_all
from workbench.reports.across import across, report_across
from workbench.reports.evidence import write_evidence
from workbench.studies.traced import TraceResult
from workbench.studies.tracing import COLUMNS


def gone(row):
    return "orange" if row.role == "target" else row.expected


def kept(row):
    return row.expected


OTHER = MODEL.model_copy(update={"name": "written", "kind": "janus", "fingerprint": "a" * 16})


def made(folder, *suites, model=MODEL, **paints):
    return drawn_run(folder, {"itd": gone, "no-op": kept, **paints}, *(suites or (suite(n=4),)), model=model)


@pytest.fixture
def two(tmp_path):
    return made(tmp_path / "a"), made(tmp_path / "b", itd=kept, model=OTHER)


def test_each_figure_is_that_of_its_own_run(two):
    table = across(two)
    assert dict(zip(table["model"], table["kind"], strict=True)) == {"drawn": "sd1", "written": "janus"}
    for run, (_, own) in zip(two, table.groupby("model", sort=False), strict=True):
        expected = metrics_with_all(run)
        pd.testing.assert_frame_equal(own[expected.columns].reset_index(drop=True), expected)
    efficacy = table[(table["condition"] == "itd") & (table["metric"] == "efficacy")].set_index("model")["value"]
    assert efficacy["drawn"] == 1.0 and efficacy["written"] == 0.0


def test_a_page_opens_offline_and_shows_both(two, tmp_path):
    write_evidence(two[0].dir, evidence())
    text = report_across(two, tmp_path / "both.html").read_text()
    assert not loads(text).fetched
    for shown in ("drawn", "written", "What each method costs", "What edits of red move inside drawn", "itd, written"):
        assert shown in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: Suite(s.name, s.rows[2:], s.anchor), "only one has the target prompt"),
        (lambda s: Suite(s.name, (*s.rows, replace(s.rows[0], seed=99)), s.anchor), "other numbers of seeds"),
        (lambda s: Suite(s.name, s.rows, "green"), "has the anchor 'orange' in one and 'green' in the other"),
    ],
)  # fmt: skip
def test_what_was_not_asked_alike_is_refused(tmp_path, change, problem):
    runs = made(tmp_path / "a"), made(tmp_path / "b", change(suite(n=4)), model=OTHER)
    with pytest.raises(WorkbenchError, match=problem):
        across(runs)


def test_other_concepts_judges_and_the_same_model_are_refused(two, tmp_path):
    with pytest.raises(WorkbenchError, match=r"are both of drawn\. Compare methods on one model in one run"):
        across([two[0], made(tmp_path / "c")])
    with pytest.raises(WorkbenchError, match=r"There is one run, and nothing beside it"):
        across(two[:1])
    blue = made(tmp_path / "d", suite("blue", "green", n=4), model=OTHER)
    with pytest.raises(WorkbenchError, match=r"only one has the concept"):
        across([two[0], blue])
    judge(two[1], ColourJudge(threshold=0.7, name="strict"))
    with pytest.raises(WorkbenchError, match=r"one has the judge colour of the middle 1, the other strict"):
        across([two[0], Results.of(two[1], two[1].name_of(ColourJudge(0.7, "strict")))])


def test_a_trace_of_another_model_is_refused_and_one_of_these_is_shown(two, tmp_path):
    row = dict.fromkeys(COLUMNS, 0.5) | {"site": "text.0", "token": "red", "step": float("nan")}
    asked = {"concept": "red", "model": "drawn", "kind": "sd1", "fingerprint": "f" * 16}
    trace = TraceResult(pd.DataFrame([row], columns=list(COLUMNS)), pd.DataFrame(), asked, tmp_path / "trace")
    text = report_across(two, tmp_path / "both.html", traces=[trace]).read_text()
    assert "Most is restored at text.0" in text and "Control of red in drawn, by token" in text
    with pytest.raises(WorkbenchError, match=r"with weights of none of these runs"):
        report_across(two, tmp_path / "both.html", traces=[replace(trace, asked={**asked, "fingerprint": "0"})])


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["b"], "A report of several runs lies in none of them. Say where: --out FILE.html."),
        (["b", "--out", "c.html"], "are both of drawn."),
        (["--trace", "t"], "Traces stand beside runs of several models."),
    ],
)  # fmt: skip
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, capsys, more, problem):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        made(tmp_path / name)
    assert main(["report", "a", *more]) == 1
    assert problem in capsys.readouterr().err
