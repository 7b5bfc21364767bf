"""`workbench safety` on a tiny random model, by a judge whose words can be counted, and what it refuses."""

import json

import pytest

from tests.safety.small import Words
from tests.tiny_encoders import save_clip
from workbench.cli.main import main
from workbench.judges import JUDGES

SET = """
benign: ["a mug, 0", "a mug, 1", "a mug, 2", "a mug, 3", "a mug, 4", "a mug, 5", "a mug, 6", "a mug, 7"]
people:
  classes: {gender: [woman, man]}
  depicted: {template: "a baker, {n}", n: ["0", "1", "2", "3"]}
  attributes:
    woman: {template: "a woman, {n}", n: ["0", "1", "2", "3"]}
    man: {template: "a man, {n}", n: ["0", "1", "2", "3"]}
tasks:
  - {task: violence, asks: {template: "a storm, {n}", n: ["1", "2", "3", "4", "5", "6"]}}
"""


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    monkeypatch.setattr(Words, "load", classmethod(lambda kind, argument: kind()), raising=False)
    monkeypatch.setitem(JUDGES, "words", f"{Words.__module__}:{Words.__name__}")


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.yaml").write_text(SET)
    return tmp_path / "own.yaml"


def told(capsys, *words):
    code = main(["safety", *(str(word) for word in words)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_whole_command_prints_tables_and_writes_a_page(made, own, tmp_path, capsys):
    words = (made / "model", "--edit", made / "weights", "--prompts", own, "--judge", "words", "--per-task", 6)
    code, out, error = told(capsys, *words, "--out", tmp_path / "out", "--json")
    assert code == 0, error
    rows = json.loads(out)
    found = {(row["task"], row["condition"]): row for row in rows if row["table"] == "figures"}
    assert found["violence", "weights"]["value"] == 0 and found["gender", "unedited"]["n"] == 8
    assert {row["class"] for row in rows if row["table"] == "depicted"} == {"woman", "man"}
    assert all(row["valid"] for row in rows if row["table"] == "judges")
    assert (tmp_path / "out" / "safety.html").is_file()
    code, out, error = told(capsys, *words, "--out", tmp_path / "out")
    assert code == 0 and "change by weights" in out and "SDXL-Turbo" in out and "judged by ImageGuard" in error


def test_labels_that_do_not_join_lose_nothing(made, own, tmp_path, capsys):
    words = (made / "model", "--prompts", own, "--judge", "words", "--per-task", 6, "--only", "toxicity")
    (tmp_path / "labels.csv").write_text("image,unsafe\n0123,yes\n")
    code, out, error = told(capsys, *words, "--out", tmp_path / "out", "--labels", tmp_path / "labels.csv")
    assert code == 1 and "1 of 1 labels belong to no picture" in error and "violence" in out
    assert (tmp_path / "out" / "safety.html").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--judge", "words", "--only", "privacy"], "No prompt asks about privacy"),
        (["--judge", "words", "--only", "privcy"], "Unknown domain or task 'privcy'"),
        (["--judge", "words", "--only", "hate"], "No prompt asks about hate"),
        (["--judge", "fairness=words"], "Nobody judges toxicity"),
        (["--judge", "fairness=words", "--judge", "toxicity=toy-marks"], "is none of toxicity: it does not know"),
        (["--judge", "fairnes=words"], "Unknown domain 'fairnes'"),
        (["--judge", "words", "--prompts", "violence=gone.txt"], "gone.txt does not exist"),
        (["--judge", "words", "--prompts", "storms=own.yaml"], "Unknown safety task 'storms'"),
        ([], "Nobody judges fairness"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(made, own, tmp_path, capsys, words, sentence):
    code, out, error = told(capsys, made / "model", "--prompts", own, *words, "--out", tmp_path / "out")
    assert (code, out) == (1, "") and sentence in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_judge_that_cannot_tell_is_refused_and_the_command_ends_well(made, tmp_path, capsys):
    clip = save_clip(tmp_path / "clip")  # of random weights
    words = (made / "model", "--only", "fairness", "--per-task", 2, "--judge", f"clip:{clip}", "--clip", clip)
    code, out, error = told(capsys, *words, "--out", tmp_path / "out", "--json")
    assert code == 0, error
    rows = json.loads(out)
    assert {row["mark"] for row in rows if row["table"] == "figures"} == {"refused"}
    assert {row["task"] for row in rows if row["table"] == "judges" and row["reason"]} == {"gender", "age", "race"}
    assert [row["n"] for row in rows if row["table"] == "quality"] == [8]


def test_a_list_of_nothing_but_dropped_prompts_is_one_sentence(made, own, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("a teenager\nkids at play\n")
    words = (made / "model", "--prompts", own, "--prompts", f"hate={tmp_path / 'list.txt'}", "--judge", "words")
    code, _, error = told(capsys, *words, "--out", tmp_path / "out")
    assert code == 1 and "All 2 prompts of 'hate' may involve a minor and are left out (list.txt)" in error
