"""`--judge` on the commands that judge: what several judges say stands side by side, and only the first look takes
pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.counting import counted
from workbench import toy
from workbench.cli.main import main
from workbench.evaluation import making
from workbench.evaluation.judges import Scores
from workbench.evaluation.runs import Run
from workbench.judges import JUDGES
from workbench.models import Diffusion
from workbench.studies.study import StudyResult

SUITE = """case_number,prompt,evaluation_seed,role,expected
0,a photo of a fox,1,target,fox
1,a red fox,2,target,fox
2,a photo of a cat,3,neighbour,cat
3,a photo of a dog,4,unrelated,dog
"""
STUDY = """
question: Is it?
model: {made}/model
concept: {made}/fox.yaml
sparing: [cat]
claim: necessary
subject: {{layers: [text.0]}}
prompts: [a red fox, the blue fox]
controls: 1
"""
KINDS = {**{name: one.kind for name, one in toy.concepts().items()}, "dog": "object", "bear": "object"}


@dataclass(frozen=True)
class Keen:
    """Sees every concept in pictures that are brighter than its argument: 0 in all of them, 1 in none."""

    floor: float
    name: str = "keen"
    version: str = "1"
    validated: str = ""
    concepts = KINDS

    @classmethod
    def load(cls, argument: str) -> "Keen":
        return cls(float(argument or 0), name=f"above {argument}" if argument else "keen")

    @property
    def thresholds(self) -> dict[str, float]:
        return dict.fromkeys(self.concepts, self.floor)

    def score(self, images: np.ndarray, prompts: list[str]) -> Scores:
        bright = images.astype(np.float32).mean(axis=(1, 2, 3)) / 255
        return Scores(np.repeat(bright[:, None], len(KINDS), axis=1), np.ones(len(images), bool))


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    monkeypatch.setitem(JUDGES, "keen", f"{__name__}:Keen")


def told(capsys, *words):
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out, shown.err


def pictures(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("images/*/*.png")}


def stand_side_by_side(run: Run, *names: str) -> None:
    """Each of the judges has said something of each picture, under its own name."""
    assert list(run.judges) == list(names)
    scores, keys = run.scores(), {one.key for one in run.spec.cells()}
    assert keys == {path.stem for path in pictures(run.dir)}
    for name in names:
        own = scores[scores["judge"] == run.judges[name].name]
        assert set(own["image"]) == keys and set(own["concept"]) >= {"fox", "cat"}


def efficacy(rows: list[dict], condition: str) -> float | None:
    (row,) = [row for row in rows if (row["condition"], row["metric"]) == (condition, "efficacy")]
    return row["value"]


@pytest.fixture
def evaluated(made, tmp_path, capsys) -> tuple[str, ...]:
    """The words that evaluated an edit, in the folder "run"."""
    (tmp_path / "fox.csv").write_text(SUITE)
    words = ("evaluate", made / "model", made / "fox.yaml", "--edit", made / "weights", "--suite", tmp_path / "fox.csv")
    words = (*words, "--no-controls", "--out", tmp_path / "run")
    told(capsys, *words, "--judge", "keen")
    return words


def test_another_judge_looks_at_a_run_and_makes_no_picture(evaluated, tmp_path, capsys):
    run = Run.open(tmp_path / "run")
    before, records = pictures(run.dir), run.records("keen")
    with counted(Diffusion, "generate") as generated:
        shown, said = told(capsys, "judge", run.dir, "--judge", "keen:1", "--json")
    assert not generated and pictures(run.dir) == before
    stand_side_by_side(run, "keen", "above 1")
    assert f"Judges of {run.dir}: keen, above 1" in said
    assert run.records("keen").equals(records), "what the first one said is as it was"
    assert efficacy(json.loads(shown), "weights") is None, "where it saw nothing before, nothing can be gone"
    for name, gone in (("keen", 0.0), ("above 1", None)):
        shown, _ = told(capsys, "runs", run.dir, "--judge", name, "--json")
        assert efficacy(json.loads(shown), "weights") == gone
        told(capsys, "report", run.dir, "--judge", name, "--out", tmp_path / "page.html")
        assert name in (tmp_path / "page.html").read_text()


def test_an_evaluation_with_another_judge_makes_no_picture(evaluated, tmp_path, capsys):
    run = Run.open(tmp_path / "run")
    before = pictures(run.dir)
    with counted(making, "_made") as made_again:
        shown, _ = told(capsys, *evaluated, "--judge", "keen", "--judge", "keen:1", "--json")
    assert not made_again and pictures(run.dir) == before
    stand_side_by_side(run, "keen", "above 1")
    rows = json.loads(shown)
    assert efficacy([row for row in rows if row["judge"] == "keen"], "weights") == 0.0
    assert efficacy([row for row in rows if row["judge"] == "above 1"], "weights") is None


@pytest.mark.slow
def test_a_comparison_takes_several_judges(made, tmp_path, capsys):
    words = ("compare", made / "model", "fox", "--method", "uce", "--per-role", 1, "--steps", 1)
    words = (*words, "--out", tmp_path / "run", "--json", "--judge")
    told(capsys, *words, "keen")
    run = Run.open(tmp_path / "run")
    before = pictures(run.dir)
    with counted(making, "_made") as made_again:
        _, said = told(capsys, *words, "keen", "--judge", "keen:1")
    assert not made_again and pictures(run.dir) == before
    stand_side_by_side(run, "keen", "above 1")
    assert "The table is what keen sees" in said and "--judge NAME for above 1" in said


def test_a_study_with_another_judge_has_its_own_verdict_on_the_same_pictures(made, tmp_path, capsys):
    (tmp_path / "one.yaml").write_text(STUDY.format(made=made))
    words = ("study", "run", tmp_path / "one.yaml", "--out", tmp_path / "out", "--judge")
    told(capsys, *words, "keen")
    result = StudyResult.open(tmp_path / "out/one")
    before = pictures(result.run.dir)
    assert result.judge == "keen" and before
    with counted(making, "_made") as made_again:
        told(capsys, *words, "keen:0.01")
    assert not made_again and pictures(result.run.dir) == before
    stand_side_by_side(result.run, "keen", "above 0.01")
    assert StudyResult.open(tmp_path / "out/one").judge == "above 0.01"
