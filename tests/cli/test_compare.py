"""`workbench compare` from flags and from a file: what it refuses, what it prints, and where the report is."""

import json

import pytest

from workbench.cli.main import main
from workbench.evaluation.runs import Run

STUDY = """
question: Does all of the prompt matter?
model: toy
concepts: [fox]
methods:
  all tokens: {method: uce}
  last token: {method: uce, tokens: last}
per_role: 40
"""
ATTACKS = "attacks: {words: {attack: replay, wordings: [vixen], misspelt: 0}}\nimages: 1\n"


def told(capsys, *words):
    code = main(["compare", *map(str, words)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["toy", "fox"], "no method"),
        (["toy", "--method", "uce"], "no concept"),
        (["toy", "foxx", "--method", "uce"], "Did you mean 'fox'"),
        (["toy", "fox", "--method", "uec"], "Did you mean 'uce'"),
        (["toy", "fox", "--method", "uce", "--set", "uce.tokns=last"], "Did you mean 'tokens'"),
        (["toy", "fox", "--method", "uce", "--set", "rece.epochs=1"], "no setting of a compared method"),
        (["toy", "fox", "--method", "uce", "--way", "joint"], "at least two"),
        (["toy", "fox", "--method", "uce", "--way", "jointly"], "ways"),
        (["toy", "fox", "--method", "uce", "--attacks", "nowhere.yaml"], "nowhere.yaml"),
        (["toy", "fox", "--method", "uce", "--attacks", "toy"], "Unknown compared concept 'church'"),
        (["toy", "fox", "cat", "--method", "uce", "--suite", "a.csv"], "Valid names: cat, fox"),
        (["toy", "fox", "--method", "uce", "--suite", "foxx=a.csv"], "Did you mean 'fox'"),
        (["toy", "fox", "--method", "uce", "--suite", "a.csv"], "a.csv does not exist"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(capsys, tmp_path, words, says):
    code, _, error = told(capsys, *words, "--out", tmp_path / "run")
    assert code == 1 and says in error
    assert not (tmp_path / "run").exists()


def test_what_a_file_of_concepts_tells_is_not_told_otherwise(capsys, tmp_path):
    (tmp_path / "fox.yaml").write_text("fox: {anchor: cat, retain: [dog]}")
    code, _, error = told(
        capsys, "toy", tmp_path / "fox.yaml", "--method", "uce", "--told", "all", "--out", tmp_path / "run"
    )
    assert code == 1 and "says itself what is told" in error and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "says"),
    [("fit_seeds: 41", "target prompts for 41 fits"), ("sampling: {stepz: 8}", "Did you mean 'steps'"),
     ("sampling: {steps: [8]}", "sampling"), ("told: everything", "told"),
     ("attacks: {attacks: {words: {attack: reply}}}", "Did you mean 'replay'"),
     ("attacks: {attacks: {words: {attack: replay}}, image: 8}", "attacks.image: there is no such key"),
     ("attacks: {attacks: {words: {attack: replay}}, images: 0}", "Give 1 image or more"),
     ("attacks: {attacks: {}}", "There is no attack")],
)  # fmt: skip
def test_what_a_file_cannot_say_is_refused_before_any_work(capsys, tmp_path, key, says):
    (tmp_path / "study.yaml").write_text(f"{STUDY}{key}\n")
    code, _, error = told(capsys, tmp_path / "study.yaml", "--out", tmp_path / "run")
    assert code == 1 and says in error and not (tmp_path / "run").exists()


def test_a_study_leaves_no_room_for_methods(capsys, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    code, _, error = told(capsys, tmp_path / "study.yaml", "--method", "uce", "--out", tmp_path / "run")
    assert code == 1 and "says which concepts and methods" in error


@pytest.mark.slow
def test_concepts_of_ones_own_are_compared_on_lists_of_ones_own(capsys, tmp_path):
    (tmp_path / "fox.yaml").write_text("fox: {anchor: cat, retain: [dog]}")
    (tmp_path / "fox.csv").write_text("prompt,evaluation_seed,class\na photo of a fox,1,fox\na church,2,church\n")
    words = ("toy", tmp_path / "fox.yaml", "--method", "uce", "--suite", tmp_path / "fox.csv", "--steps", 8)
    code, _, error = told(capsys, *words, "--judge", "toy", "--out", tmp_path / "run")
    assert code == 0, error
    rows = Run.open(tmp_path / "run").spec.trials[0].rows
    assert [(row.role, row.expected, row.seed) for row in rows] == [("target", "fox", 1), ("unrelated", "church", 2)]


@pytest.mark.slow
def test_a_study_ends_with_a_table_and_a_report_and_is_continued(capsys, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "attacks.yaml").write_text(
        "attacks: {words: {attack: replay, wordings: [vixen], misspelt: 0}}\nimages: 1"
    )
    words = (tmp_path / "study.yaml", "--out", tmp_path / "run", "--per-role", 1, "--steps", 4)
    words += ("--attacks", tmp_path / "attacks.yaml")
    code, table, error = told(capsys, *words)
    assert code == 0, error
    for text in (
        "efficacy",
        "all tokens",
        "last token",
        "random directions",
        "(",
        "*",
        "Attacked:",
        "words",
        "cheapest",
    ):
        assert text in table
    assert f"The report is at {tmp_path / 'run/report.html'}" in error
    assert "Does all of the prompt matter?" in (tmp_path / "run/report.html").read_text()
    run = Run.open(tmp_path / "run")
    assert run.spec.settings["steps"] == 4 and run.spec.trials[0].conditions["last token"].settings["tokens"] == "last"
    made = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*.png")}

    code, out, _ = told(capsys, *words, "--json")
    rows = json.loads(out)
    attacked = {row["condition"] for row in rows if row.get("attack") == "words"}
    rows = [row for row in rows if "attack" not in row]
    assert attacked == {"unedited", "all tokens", "last token", "no-op"}
    assert code == 0 and made == {path: path.stat().st_mtime_ns for path in run.dir.rglob("*.png")}
    efficacy = {row["condition"]: row["among_best"] for row in rows if row["metric"] == "efficacy"}
    assert efficacy["unedited"] is None and True in (efficacy["all tokens"], efficacy["last token"])
