"""Judges side by side: each looks at each image once, adds to what others said, and may say less than all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.counting import counted
from tests.evaluation.drawn import COLOURS, ColourJudge, drawn_run
from workbench.evaluation import judged
from workbench.evaluation.differences import best_methods
from workbench.evaluation.judged import INTACT
from workbench.evaluation.judges import Judge, JudgeSpec, Scores
from workbench.evaluation.judging import judge
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import metrics, verdict_shares
from workbench.reports.report import report


class Credulous(ColourJudge):
    """Sees every concept everywhere, and still knows noise from a picture."""

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        scores = super().score(images, prompts)
        return scores._replace(present=np.ones_like(scores.present))


class Plain(ColourJudge):
    """Knows colours, and says nothing else. It reads the prompt: a disc that is like paint is half as red."""

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        present = super().score(images, prompts).present
        return Scores(present * np.array([[0.5 if "paint" in prompt else 1.0] for prompt in prompts], np.float32))


def credulous() -> Judge:
    return Credulous(name="credulous")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return drawn_run(tmp_path / "run", {"some": lambda row: row.expected, "noise": lambda row: "noise"})


def files(run: Run) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.dir.rglob("*") if path.is_file()}


def test_in_doubt_the_edit_is_charged(run: Run) -> None:
    records = judge(run, credulous()).records("credulous")
    noise = records[records["condition"] == "noise"]
    roles = noise.groupby("role")["shown"].mean().to_dict()
    assert roles == {"target": 1, "synonym": 1, "neighbour": 0, "unrelated": 0}
    assert set(noise["verdict"]) == {"target"}
    assert records[records["condition"] == "unedited"]["shown"].all()


def test_each_image_is_decoded_and_scored_once(run: Run) -> None:
    with counted(Run, "read_image") as decoded, counted(Credulous, "score") as scored:
        judge(run, credulous())
    assert len(decoded) == sum(len(images) for _, images, _ in scored) == len(run.spec.cells())


def test_judging_again_adds_and_never_replaces(run: Run) -> None:
    before, records = files(run), run.records()
    judge(run, credulous())
    after = files(run)
    assert {path: after[path] for path in before if path.name != "images.parquet"} == {
        path: content for path, content in before.items() if path.name != "images.parquet"
    }
    assert list(run.judges) == ["colour of the middle", "credulous"]
    pd.testing.assert_frame_equal(run.records(), records)  # the first judge is the default
    assert run.records("credulous")["shown"].sum() > records["shown"].sum()
    with counted(Run, "read_image") as decoded:
        judge(run, credulous())
    assert not decoded and len(run.judges) == 2, "who looked already is not asked again"


def test_all_scores_are_one_long_table(run: Run) -> None:
    judge(run, credulous())
    table = run.scores()
    assert list(table.columns) == ["image", "judge", "version", "concept", "score"]
    assert len(table) == 2 * len(run.spec.cells()) * (len(COLOURS) + 1)
    assert set(table["concept"]) == {*COLOURS, INTACT}
    assert not table.duplicated(["image", "judge", "concept"]).any()


def test_another_threshold_is_another_judge_of_that_name(run: Run) -> None:
    stricter = ColourJudge(threshold=1.01)
    judge(run, stricter)
    first, second = run.judges
    assert first.startswith("colour of the middle (") and second == run.name_of(stricter)
    assert run.records()["shown"].any() and not run.records(second)["shown"].any()
    with pytest.raises(WorkbenchError, match=r"Unknown judge of .*'colour of the midle'"):
        run.records("colour of the midle")


def test_tables_and_report_can_name_a_judge(run: Run, tmp_path: Path) -> None:
    judge(run, credulous())
    for name, verdict in (("credulous", "target"), ("", "broken")):
        shares = verdict_shares(run, name).set_index(["condition", "role", "verdict"])["share"]
        assert shares["noise", "target", verdict] == 1
    results = Results.of(run)
    assert Results.of(results) is results and Results.of(results, "credulous").judge.name == "credulous"
    assert not best_methods(results, "credulous")["among_best"].empty
    assert "judge credulous 1" in report(run, tmp_path / "report.html", judge="credulous").read_text(encoding="utf-8")


def test_what_a_judge_does_not_say_is_not_applicable_and_no_number(run: Run, tmp_path: Path) -> None:
    plain = Plain(name="plain")
    judge(run, plain)
    table = metrics(run, "plain").set_index(["condition", "metric"])
    for metric in ("intact", "feature_drift"):
        assert set(table.xs(metric, level="metric")["mark"]) == {"n/a"}
        assert table.xs(metric, level="metric")["value"].isna().all()
    assert table.loc[("noise", "pixel_drift"), "value"] > 0 and "damaged" not in set(table["mark"])
    assert "broken" not in set(run.records("plain")["verdict"])
    assert verdict_shares(run, "plain").groupby(["condition", "role"])["share"].sum().round(9).eq(1).all()
    page = report(run, tmp_path / "report.html", judge="plain").read_text(encoding="utf-8")
    assert "n/a" in page and "nan" not in page.partition("<script")[0].lower()


def test_a_judge_may_read_the_prompt(run: Run) -> None:
    judge(run, Plain(name="plain", threshold=0.6))
    shown = run.records("plain").query("condition == 'unedited'").groupby("role")["shown"].mean()
    assert shown["target"] == 1 and shown["synonym"] == 0


def test_each_concept_has_a_threshold_of_its_own(run: Run) -> None:
    class Strict(ColourJudge):
        @property
        def thresholds(self) -> dict[str, float]:
            return {**super().thresholds, "green": 1.5}

    judge(run, Strict(name="strict"))
    shown = run.records("strict").query("condition == 'unedited'").groupby("expected")["shown"].mean()
    assert shown["green"] == 0 and shown["blue"] == shown["red"] == 1


def spoilt(change: Callable[[Scores], Scores]) -> Judge:
    class Spoilt(ColourJudge):
        def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
            return change(super().score(images, prompts))

    return Spoilt(name="spoilt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scores: scores._replace(present=scores.present * np.float32("nan")), "no numbers"),
        (lambda scores: scores._replace(features=scores.features / 0), "no numbers"),
        (lambda scores: scores._replace(present=scores.present[:, :2]), "does not give a score for each"),
        (lambda scores: scores._replace(intact=scores.intact[:-1]), "does not give a score for each"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_scores_that_are_none_are_refused(run: Run, change: Callable[[Scores], Scores], said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        judge(run, spoilt(change))
    assert list(run.judges) == ["colour of the middle"]


def test_what_is_no_judge_is_refused() -> None:
    class Half:
        name, version, concepts, thresholds = "half", "1", {"fox": "object"}, {}

    with pytest.raises(WorkbenchError, match="The judge Half has no 'validated'"):
        JudgeSpec.of(Half())
    Half.validated = ""
    with pytest.raises(WorkbenchError, match=r"a threshold for each concept \('fox'\)"):
        JudgeSpec.of(Half())


def test_of_two_processes_with_one_judge_the_faster_one_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    makes = judged.new_folder

    def overtaken(path: Path) -> object:
        monkeypatch.setattr(judged, "new_folder", makes)
        judge(run, credulous())
        return makes(path)

    monkeypatch.setattr(judged, "new_folder", overtaken)
    judge(run, credulous())
    assert list(run.judges) == ["colour of the middle", "credulous"]
    assert not run.scores().duplicated(["image", "judge", "concept"]).any()
