"""No page is wider than the window: what is wide scrolls in its own container. In Chromium, narrow and wide."""

import shutil
from dataclasses import replace
from itertools import product

import pandas as pd
import pytest

from tests.evaluation.drawn import drawn_run, suite
from tests.evaluation.small import Brightness, Scaled
from tests.reports.made_up import evidence
from tests.safety.test_running import made as made_safety
from tests.studies.test_run_study import STUDY
from workbench.figures.template import figure
from workbench.reports.evidence import write_evidence
from workbench.reports.pages import write_page
from workbench.reports.report import report
from workbench.reports.studying import study_report
from workbench.reports.tracing import trace_report
from workbench.safety.page import write_safety
from workbench.studies.study import run_study
from workbench.studies.traced import TraceFile, run_trace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

WIDTHS, SCHEMES = (400, 1000, 1600), ("light", "dark")
METHODS = [f"a-method-with-the-settings-{'of-its-own-' * 8}{number}" for number in range(12)]
BEYOND = """() => {
    const width = document.documentElement.clientWidth;
    const scrolls = (node) => node && (/(auto|scroll|hidden)/.test(getComputedStyle(node).overflowX)
        || scrolls(node.parentElement));
    return [...document.querySelectorAll("body *")]
        .filter((node) => node.getBoundingClientRect().right > width + 1 && !scrolls(node.parentElement))
        .slice(0, 5).map((node) => `${node.tagName}.${node.className}: ${(node.textContent || "").slice(0, 40)}`);
}"""
PAGES = ("comparison", "report", "study", "trace", "safety", "figures")


@pytest.fixture(scope="module")
def pages(tiny_sd1, tmp_path_factory):
    """Every kind of page: a file by its name."""
    root = tmp_path_factory.mktemp("pages")
    many = {name: lambda row: row.expected for name in METHODS}
    comparison = drawn_run(root / "comparison", many, suite(), suite("blue", "green"))
    one = drawn_run(root / "run", {"itd": lambda row: row.expected}, suite())
    write_evidence(one.dir, evidence())
    study = run_study(
        tiny_sd1, replace(STUDY, question="Is " + "so-and-so-" * 30 + " so?"), Brightness(), root / "study"
    )
    said = TraceFile(
        question="Where?", model="x", concept="fox", sparing=("cat", "dog"), claim="traced",
        sites=("text.1", "unet.out"), prompts=["the blue fox"], steps=1,
    )  # fmt: skip
    wide = pd.DataFrame({f"a long column {n}": [n] for n in range(40)})
    return {
        "comparison": report(comparison, root / "comparison.html"),
        "report": report(one, root / "report.html"),
        "study": study_report(study, root / "study.html"),
        "trace": trace_report(run_trace(tiny_sd1, said, root / "trace"), root / "trace.html"),
        "safety": write_safety(made_safety(tiny_sd1, root / "safe", {"scaled": Scaled(-1.0)}), root / "safety.html"),
        "figures": write_page(root / "page.html", "x" * 200, {"Table": wide, "Figure": figure(), "Text": "y" * 300}),
    }


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """`opened(path)` → that page, with nothing folded away."""
    pages = []

    def opened(path):
        pages.append(browser.new_page())
        pages[-1].set_default_timeout(120_000)
        pages[-1].goto(f"file://{path.resolve()}")
        pages[-1].evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_wide_as_the_window_in_light_and_dark(opened, pages, name):
    page = opened(pages[name])
    for width, scheme in product(WIDTHS, SCHEMES):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        found = page.evaluate(BEYOND)
        scrolled = page.evaluate("document.documentElement.scrollWidth")
        assert scrolled <= width and not found, (width, scheme, scrolled, found)


def test_a_wide_comparison_scrolls_in_its_own_container(opened, pages):
    page = opened(pages["comparison"])
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        boxes = page.evaluate(
            """() => [...document.querySelectorAll(".wide > table")].map((table) => {
                const box = table.parentElement; box.scrollLeft = 1e6;
                return [table.scrollWidth, box.clientWidth, box.scrollLeft, scrollX]; })"""
        )
        wide = [box for box in boxes if box[0] > 1300]
        assert wide, "there is a table wider than 1,300 pixels"
        for table, room, moved, beside in wide:
            assert room < table and abs(moved - (table - room)) <= 1 and beside == 0, "to its last column, and alone"


def test_the_check_finds_what_is_too_wide(opened, tmp_path):
    path = tmp_path / "wide.html"
    path.write_text('<p>narrow</p><div style="overflow-x:auto"><b style="display:block;width:3000px">in</b></div>')
    page = opened(path)
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate(BEYOND) == []
    path.write_text('<b style="display:block;width:3000px">out</b>')
    page.reload()
    assert page.evaluate(BEYOND) == ["B.: out"]
