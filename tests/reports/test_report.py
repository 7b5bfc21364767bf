"""The report is one file that loads nothing, and holds the numbers and pictures of its run."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.drawn import drawn_run, picture, suite
from tests.reports.made_up import evidence
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.evaluation.suites import Suite
from workbench.evaluation.tables import metrics, pooled_metrics
from workbench.reports.evidence import Evidence, write_evidence
from workbench.reports.report import report
from workbench.reports.sheets import COLUMNS, data_uri, sheets

LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction"}


def half(row: Row) -> str:
    return "orange" if row.expected == "red" and row.seed == 1 else row.expected


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = drawn_run(
        tmp_path_factory.mktemp("report") / "run", {"itd": half, "no-op": lambda row: row.expected},
        suite(), suite("blue", "green"),
    )  # fmt: skip
    write_evidence(run.dir, evidence())
    return run


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return report(run, run.dir / "report.html").read_text(encoding="utf-8")


class Loads(HTMLParser):
    """Collects everything that a browser would fetch, and how often each tag occurs."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: dict[str, int] = {}
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            if name in LOADING or (name == "href" and tag == "link"):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and (value or "").startswith("#"):
                self.links.append((value or "")[1:])


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def loads(page: str) -> Loads:
    parser = Loads()
    parser.feed(page)
    return parser


def test_the_page_fetches_nothing(page: str) -> None:
    fetched = loads(page).fetched
    assert fetched
    assert all(value.startswith("data:image/webp;base64,") for value in fetched)
    assert not re.search(r"@import|url\(", without_scripts(page))


def test_the_counter_test_finds_what_would_be_fetched(page: str) -> None:
    spoilt = page.replace("<h1>", '<link href="https://example.org/a.css"><img src="https://example.org/b.png"><h1>')
    assert [value for value in loads(spoilt).fetched if not value.startswith("data:")] == [
        "https://example.org/a.css", "https://example.org/b.png"
    ]  # fmt: skip


def test_plotly_is_embedded_once_and_the_file_is_small(page: str) -> None:
    assert page.count("plotly.js v") == 1
    assert len(page.encode()) < 12e6


def test_every_entry_of_the_contents_leads_somewhere(page: str) -> None:
    found = loads(page)
    assert set(found.links) <= set(found.ids)
    assert len(found.links) == 11
    assert len(set(found.ids)) == len(found.ids)


def test_the_summary_prints_the_numbers_of_the_tables(run: Run, page: str) -> None:
    body = without_scripts(page)
    for table in (metrics(run), pooled_metrics(run)):
        for row in table[table["metric"] == "efficacy"].itertuples():
            assert f"<td>{100 * row.value:.1f}<small>{100 * row.low:.0f}–{100 * row.high:.0f}</small></td>" in body


def test_the_evidence_of_the_run_folder_is_shown(page: str) -> None:
    body = without_scripts(page)
    for text in ("Feature 3", "Feature 1", "25&#8239;% of 8 images instead of 100&#8239;%", "15.0&#8239;% before"):
        assert text in body
    assert body.count('class="card"') == 2


def test_the_inside_says_what_becomes_of_features_and_how_well_gradients_tell_the_truth(page: str) -> None:
    body = without_scripts(page)
    assert "At text.2, 1 of 1 features that fire die, and 1 are born." in body
    assert "gradient × activation 1.00, integrated gradients 0.50" in body  # ranks 1 2 3 and 1 3 2
    assert "3 red disc" in page, "the graph names its features"
    assert "<h4>itd</h4>" in body and "<h4>random features</h4>" not in body


def test_without_an_autoencoder_the_inside_has_no_features(tmp_path: Path) -> None:
    made = evidence()
    some = {name: made.tables[name] for name in ("change", "moved")}
    empty = made.tables["fates"].iloc[:0]
    body = without_scripts(report(drawn_run(tmp_path / "run", {"itd": half}), tmp_path / "report.html",
                                  Evidence(tables={**some, "fates": empty})).read_text())  # fmt: skip
    assert 'id="inside"' in body and "attention moved" in body and "features before and after" not in body


def test_without_evidence_its_sections_are_left_out(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"itd": half})
    body = without_scripts(report(run, tmp_path / "report.html", title="Red <discs>", question="Why?").read_text())
    assert "<h1>Red &lt;discs&gt;</h1>" in body
    assert '<p class="question">Why?</p>' in body
    assert not any(f'id="{name}"' in body for name in ("features", "attention", "neighbours", "inside"))


def test_the_citations_and_the_way_to_repeat_it_are_there(page: str) -> None:
    body = without_scripts(page)
    assert "arxiv.org/abs/2503.09446" in body
    assert "<pre>pytest</pre>" in body
    assert "f" * 16 in body


def test_a_column_of_a_contact_sheet_is_one_prompt_and_seed(run: Run) -> None:
    sheet = sheets(Results.of(run), run.spec.trials[0])[0]
    assert sheet.role == "target"
    assert [name for name, _ in sheet.rows] == ["unedited", "itd", "no-op"]
    unedited, itd = sheet.rows[0][1], sheet.rows[1][1]
    assert len(sheet.prompts) == len(unedited) == len(itd) == COLUMNS
    assert [one.verdict for one in unedited] == ["target"] * COLUMNS
    assert [one.verdict for one in itd] == ["anchor", "target"] * (COLUMNS // 2)
    assert all(before.text.split(": ", 1)[1].rsplit(":", 1)[0] == after.text.split(": ", 1)[1].rsplit(":", 1)[0]
               for before, after in zip(unedited, itd, strict=True))  # fmt: skip


def test_pictures_are_inlined_close_to_lossless_and_never_enlarged() -> None:
    image = picture("red", 1, size=48)
    shown = Image.open(BytesIO(b64decode(data_uri(image).split(",")[1])))
    assert shown.size == (48, 48)
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - image).mean() < 6
    assert Image.open(BytesIO(b64decode(data_uri(picture("red", 1, size=400)).split(",")[1]))).size == (160, 160)


@pytest.mark.parametrize("roles", [("neighbour", "unrelated"), ("target",)])
def test_a_suite_may_lack_roles(tmp_path: Path, roles: tuple[str, ...]) -> None:
    own = Suite("red", tuple(row for row in suite().rows if row.role in roles))
    run = drawn_run(tmp_path / "run", {"a": lambda row: "nothing", "b": lambda row: row.expected}, own)
    assert "Erasing red" in report(run, tmp_path / "report.html").read_text(encoding="utf-8")
