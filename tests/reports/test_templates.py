"""Every page is told every name that its template uses, also those of branches that this page does not take."""

import jinja2
import pytest

from tests.evaluation.drawn import drawn_run, suite
from workbench.evaluation.suites import Suite
from workbench.reports import report as reports
from workbench.reports.report import environment, names_used, report, write_report

PAGES = [name for name in environment().list_templates() if 'extends "page.html"' in
         environment().loader.get_source(environment(), name)[0]]  # fmt: skip


@pytest.mark.parametrize("conditions", [{}, {"itd": lambda row: row.expected}])
def test_the_smallest_runs_have_a_report(tmp_path, conditions):
    small = Suite("small", suite().rows[:1])
    page = report(drawn_run(tmp_path / "run", conditions, small), tmp_path / "page.html").read_text()
    assert page.rstrip().endswith("</html>")


def test_names_are_found_in_every_branch_and_every_part_of_a_page():
    assert {"doses_chart", "sheets", "references", "style"} <= names_used(environment(), "study.html")
    assert PAGES == ["report.html", "safety.html", "study.html", "trace.html"]
    used = names_used(environment(), "report.html")
    assert {"costs", "inner", "orders"} <= used and not {"results", "grid", "loop"} & used


def test_a_name_that_only_an_untaken_branch_uses_is_missed(tmp_path, monkeypatch):
    loader = jinja2.DictLoader({"a.html": "{% if many %}{{ curve }}{% endif %}", "style.css": ""})
    there = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    monkeypatch.setattr(reports, "environment", lambda: there)
    with pytest.raises(AssertionError, match=r"a\.html is not told \['curve'\]"):
        write_report("a.html", {"many": False}, tmp_path / "page.html")
    assert write_report("a.html", {"many": False, "curve": None}, tmp_path / "page.html").read_text() == ""
