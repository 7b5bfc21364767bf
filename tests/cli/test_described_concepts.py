"""Concepts that the command line describes, and suites for them: what a file says and what options say is one thing."""

import csv

import numpy as np
import pytest

from tests.cli.test_chosen_options import ran
from workbench.cli.main import main
from workbench.edits import load_edit
from workbench.evaluation.judges import Scores

FOX = ("--anchor", "cat", "--retain", "dog", "--retain", "bear")


class Credulous:
    """Sees everything in every picture: those of a random model show nothing."""

    name, version, validated = "credulous", "1", "nowhere"
    concepts = dict.fromkeys(("fox", "cat", "dog", "bear", "red", "blue"), "object")
    thresholds = dict.fromkeys(concepts, 0.5)

    def score(self, images, prompts=()):
        return Scores(np.ones((len(images), len(self.concepts)), np.float32), None, None)


def test_options_describe_the_concept_that_a_file_describes(made, tmp_path):
    ran("erase", made / "model", "fox", *FOX, "--method", "uce", "--out", tmp_path / "edit")
    own, of_file = load_edit(tmp_path / "edit"), load_edit(made / "weights")
    assert own.concepts == of_file.concepts and own.names == of_file.names
    assert all(own.delta(name).equal(of_file.delta(name)) for name in own.names)


def test_options_win_over_a_file(made, tmp_path):
    ran("erase", made / "model", made / "fox.yaml", "--anchor", "dog", "--method", "uce", "--out", tmp_path / "edit")
    own, of_file = load_edit(tmp_path / "edit"), load_edit(made / "weights")
    assert any(not own.delta(name).equal(of_file.delta(name)) for name in own.names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fox", "bear", "--anchor", "cat"], "--anchor cat describes one concept, and here are 2"),
        (["lion", "--kind", "animal"], "Unknown kind of concept 'animal'"),
        (["lion", "--anchor", "lion"], "The anchor of 'lion' is the concept itself"),
        (["lion"], "described by --kind, --anchor and --retain, or in a file"),
    ],
    ids=["two", "kind", "itself", "unknown"],
)
def test_what_describes_no_concept_is_refused(made, tmp_path, capsys, words, said):
    assert main(["erase", str(made / "model"), *words, "--method", "uce", "--out", str(tmp_path / "edit")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "edit").exists()


def test_a_suite_is_made_read_changed_and_evaluated_on(made, tmp_path, capsys, monkeypatch):
    (tmp_path / "words.txt").write_text("cat\ndog\nred\nblue\nthe fox\n")
    words = ("--near", "1", "--among", tmp_path / "words.txt", "--per-role", "2")
    ran("suite", made / "model", "fox", *FOX, *words, "--out", tmp_path / "fox.csv")
    said = capsys.readouterr()
    assert "target 2, anchor 2, told 2, neighbour 2, unrelated 2" in said.out
    with (tmp_path / "fox.csv").open() as file:
        rows = list(csv.DictReader(file))
    (near,) = {row["expected"] for row in rows if row["role"] == "neighbour"}
    assert near in ("red", "blue") and near in said.out
    kept = [row for row in rows if row["role"] != "unrelated"]
    with (tmp_path / "fewer.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    monkeypatch.setattr("workbench.judges.find_judge", lambda words, *_: Credulous())
    given = ("--edit", made / "weights", "--suite", tmp_path / "fewer.csv", "--no-controls", "--out", tmp_path / "run")
    ran("evaluate", made / "model", "fox", *FOX, *given)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{made}/model", "fox", "--anchor", "cat", "--attack", "replay"], "--attack has no effect on a suite"),
        (["{made}/model", "--anchor", "cat"], "--anchor cat has no effect on a suite of attacks"),
        (["{made}/model", "woman", "--kind", "gender"], "There are no words of the kind 'gender'"),
    ],
)
def test_options_of_the_other_kind_of_suite_are_refused(made, tmp_path, capsys, words, said):
    given = [word.format(made=made) for word in words]
    assert main(["suite", *given, "--out", str(tmp_path / "suite")]) == 1
    assert said in capsys.readouterr().err
