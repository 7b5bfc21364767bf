"""`workbench calibrate`, and two judges on one run: a tiny CLIP and a tiny SigLIP look at what a tiny model draws."""

import json

import pytest

from tests.tiny_encoders import save_clip, save_siglip
from workbench.cli.judging import to_judge
from workbench.cli.main import main
from workbench.concepts import Concept
from workbench.evaluation.calibration import FILE
from workbench.evaluation.runs import Run

SUITE = """case_number,prompt,evaluation_seed,role,expected
0,a photo of a fox,1,target,fox
1,a red fox,2,target,fox
2,a photo of a cat,3,neighbour,cat
3,a photo of a dog,4,unrelated,dog
"""


def told(capsys, *words):
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A CLIP, a SigLIP, and a list of prompts."""
    root = tmp_path_factory.mktemp("tools")
    (root / "fox.csv").write_text(SUITE)
    save_clip(root / "clip")
    save_siglip(root / "siglip")
    return root


@pytest.mark.slow
def test_a_judge_is_calibrated_and_two_stand_side_by_side(made, tools, tmp_path, capsys):
    words = ("calibrate", made / "model", made / "fox.yaml", "--judge", f"clip:{tools / 'clip'}", "--per-concept", 8)
    code, out, error = told(capsys, *words, "--out", tmp_path / "judge", "--json")
    assert code == 0, error
    rows = {row["concept"]: row for row in json.loads(out)}
    assert list(rows) == ["fox", "cat", "dog", "bear"], "the anchor and what is to be retained are told apart too"
    assert all(0 <= row["found_low"] <= row["found"] <= row["found_high"] <= 1 for row in rows.values())
    path = tmp_path / "judge" / FILE
    content = json.loads(path.read_text())
    assert content["pictures"] == 32 and content["encoder"] == str((tools / "clip").resolve())
    for known in content["concepts"].values():
        known["threshold"] = -1000.0  # random weights see nothing: one that sees everything passes the floor
    path.write_text(json.dumps(content))

    words = ("evaluate", made / "model", made / "fox.yaml", "--edit", made / "weights", "--suite", tools / "fox.csv")
    judges = ("--judge", f"clip:{tmp_path / 'judge'}", "--judge", f"clip:{tools / 'siglip'}")
    code, out, error = told(capsys, *words, *judges, "--out", tmp_path / "run", "--json")
    assert code == 0, error
    run, metrics = Run.open(tmp_path / "run"), json.loads(out)
    first, second = run.judges
    assert run.judges[second].version.startswith("siglip ") and run.judges[second].version.endswith("not calibrated")
    assert {row["judge"] for row in metrics} == {first, second}
    code, out, _ = told(capsys, *words, *judges, "--out", tmp_path / "run")
    lines = [line.split() for line in out.splitlines() if " efficacy " in line]
    assert len(lines) == 2 and code == 0, "a line for each judge, one under the other"

    code, out, _ = told(capsys, "judge", tmp_path / "run", "--agreement", "--json")
    table = json.loads(out)
    assert code == 0 and {(row["first_judge"], row["second_judge"]) for row in table} == {(first, second)}
    assert {row["condition"] for row in table} >= {"unedited", "edited", "weights"}
    again = ("judge", tmp_path / "run", "--judge", judges[1], "--json")
    code, out, _ = told(capsys, *again, "--agreement")
    assert code == 0 and json.loads(out) == table and len(run.judges) == 2, "a calibrated judge is known again"
    code, out, _ = told(capsys, *again, "--clip-score")
    assert code == 0 and {row["scale"] for row in json.loads(out)} == {"100 cos, clip"}
    code, _, _ = told(capsys, "judge", tmp_path / "run", "--judge", judges[3], "--agreement")
    assert code == 0 and len(run.judges) == 3, "one that is not is told of what the run's judges know: of other texts"


def test_random_weights_are_below_the_floor(made, tools, tmp_path, capsys):
    words = ("evaluate", made / "model", made / "fox.yaml", "--edit", made / "weights", "--suite", tools / "fox.csv")
    code, _, error = told(capsys, *words, "--judge", f"clip:{tools / 'clip'}", "--out", tmp_path / "run")
    assert code == 1 and "The judge clip finds the expected concept in" in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("calibrate", "toy", "--judge", "toy"), "has no thresholds to choose"),
        (("calibrate", "MODEL"), "cannot be told apart"),
        (("calibrate", "MODEL", "LONE"), "cannot be told apart"),
        (("judge", "RUN", "--judge", "clip:nowhere"), "has no config"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_any_work(made, tools, tmp_path, capsys, words, says):
    (tmp_path / "lone.yaml").write_text("fox: {}\n")
    (tmp_path / "run").mkdir()
    names = {"MODEL": made / "model", "LONE": tmp_path / "lone.yaml", "RUN": tmp_path / "run"}
    given = [names.get(word, word) for word in words]
    if words[0] == "calibrate":
        given += ["--out", tmp_path / "out"] + ([] if "--judge" in words else ["--judge", f"clip:{tools / 'clip'}"])
    code, _, error = told(capsys, *given)
    assert code == 1 and (says in error or "not a run folder" in error)
    assert not (tmp_path / "out").exists()


def test_a_judge_is_named_once(made, tools, tmp_path, capsys):
    words = ("evaluate", made / "model", made / "fox.yaml", "--edit", made / "weights", "--suite", tools / "fox.csv")
    code, _, error = told(capsys, *words, "--judge", "toy", "--judge", "toy", "--out", tmp_path / "run")
    assert code == 1 and "A judge is named twice" in error


def test_what_a_judge_is_asked_about_has_a_kind():
    fox = Concept(
        "fox", anchor="cat", kind="style", retain=["dog"], captions=["a dog", "a house"], templates=["{} art"]
    )
    asked = {one.name: one for one in to_judge([fox], ["fox", "velda moor", "zebra", "", "dawn"], {"dawn": "implicit"})}
    assert list(asked) == ["fox", "cat", "dog", "velda moor", "zebra", "dawn"]
    kinds = {name: one.kind for name, one in asked.items()}
    assert kinds["cat"] == kinds["dog"] == "style" and asked["dog"].prompts() == ("dog art",)
    assert asked["dog"].captions == ("a house",), "what names it is no picture without it"
    assert kinds["velda moor"] == "character" and kinds["zebra"] == "object" and kinds["dawn"] == "implicit"
