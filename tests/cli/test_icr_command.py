"""`workbench icr`: the table of `implicit_ratios`, by several judges, with the distance to a folder of pictures."""

import json

import pytest
from PIL import Image

from tests.evaluation.drawn import ColourJudge, drawn_run, picture, suite
from tests.evaluation.test_implicit import Reddish
from workbench.cli.main import main
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.judges import JUDGES


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    for judge in (ColourJudge, Reddish):
        monkeypatch.setattr(judge, "load", classmethod(lambda kind, argument: kind()), raising=False)
        monkeypatch.setitem(JUDGES, judge.__name__.lower(), f"{judge.__module__}:{judge.__name__}")


@pytest.fixture
def run(tmp_path):
    rows = [SuiteRow(f"a picture, {i}", "implied", "red", seed) for i in range(3) for seed in (1, 2)]
    paints = {"half": lambda row: "red" if row.role != "implied" or row.seed == 1 else "orange"}
    return drawn_run(tmp_path / "run", paints, Suite("red", (*suite(n=2).rows, *rows), anchor="orange"))


def told(capsys, *words):
    code = main(["icr", *(str(word) for word in words)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_each_judge_has_a_row_for_each_condition(run, capsys):
    code, out, error = told(capsys, run.dir, "--judge", "colourjudge", "--judge", "reddish", "--json")
    assert code == 0, error
    found = {(row["condition"], row["judge"]): row["icr"] for row in json.loads(out)}
    colour, reddish = ColourJudge().name, Reddish.name
    assert found == {
        ("unedited", colour): 1.0, ("unedited", reddish): 1.0, ("half", colour): 0.5, ("half", reddish): 1.0,
    }  # fmt: skip


def test_clean_pictures_of_a_folder_add_the_distance_and_the_product(run, tmp_path, capsys):
    (tmp_path / "clean").mkdir()
    for seed in range(6):
        Image.fromarray(picture("nothing", seed, size=48)).save(tmp_path / "clean" / f"{seed}.png")
    code, out, error = told(capsys, run.dir, "--judge", "colourjudge", "--clean", tmp_path / "clean", "--json")
    assert code == 0, error
    rows = {row["condition"]: row for row in json.loads(out)}
    assert rows["half"]["product"] == pytest.approx(0.5 * rows["half"]["distance"]) and rows["half"]["distance"] > 0


def test_a_run_without_such_prompts_is_refused_in_a_sentence(tmp_path, capsys):
    named = drawn_run(tmp_path / "named", {"same": lambda row: row.expected})
    code, _, error = told(capsys, named.dir, "--judge", "colourjudge")
    assert code == 1 and "No prompt of the run" in error and "Traceback" not in error


def test_a_judge_that_is_named_twice_is_refused_as_elsewhere(run, capsys):
    code, out, error = told(capsys, run.dir, "--judge", "reddish", "--judge", "reddish")
    assert (code, out) == (1, "") and "A judge is named twice (reddish, reddish). Name each once." in error
