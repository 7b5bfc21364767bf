"""The visual filter, on the toy: pairs that its pictures tell apart are kept, the others named with the reason."""

import csv

import pytest

from saes.errors import WorkbenchError
from workbench.cli.main import main
from workbench.evaluation.suites import read_suite
from workbench.evaluation.visual_filter import LEFT, MISSED, visually_filtered
from workbench.fitting.prompt_pairs import PromptPair, read_pairs
from workbench.models import load
from workbench.toy import Oracle

PAIRS = (
    PromptPair("a photo of a fox", "a photo of a cat", "fox", "cat"),
    PromptPair("a photo of a car", "a photo of a cat"),
    PromptPair("a picture of a fox", "a fox"),
)


@pytest.fixture(scope="module")
def toy():
    return load("toy", device="cpu")


@pytest.fixture(scope="module")
def filtered(toy, tmp_path_factory):
    return visually_filtered(toy, PAIRS, Oracle.load(), tmp_path_factory.mktemp("pairs"), concept="fox", steps=8)


def test_a_pair_is_kept_if_only_its_first_picture_shows_the_concept(filtered):
    assert filtered.table["dropped"].tolist() == ["", MISSED, LEFT]
    assert filtered.pairs == PAIRS[:1]
    (row,) = filtered.suite.rows
    assert (row.prompt, row.role, row.expected, row.seed) == ("a photo of a fox", "target", "fox", 0)


def test_both_prompts_of_a_pair_are_drawn_with_its_seed_and_kept(filtered):
    records = filtered.run.records()
    assert records["prompt"].tolist() == [prompt for pair in PAIRS for prompt in pair[:2]]
    assert records["seed"].tolist() == [0, 0, 1, 1, 2, 2]


def test_what_cannot_be_filtered_is_refused(toy, tmp_path):
    for pairs, concept in (((), "fox"), (PAIRS, ""), (PAIRS, "car")):
        with pytest.raises(WorkbenchError, match="Give pairs about one concept"):
            visually_filtered(toy, pairs, Oracle.load(), tmp_path / "none", concept=concept)
    assert not (tmp_path / "none").exists()
    with pytest.raises(WorkbenchError, match=rf"No pair is left: {MISSED} \(1\)"):
        visually_filtered(toy, PAIRS[1:2], Oracle.load(), tmp_path / "run", concept="fox", steps=8)


def test_the_command_writes_pairs_a_suite_and_what_it_dropped(tmp_path, capsys):
    pairs, out = tmp_path / "given.csv", tmp_path / "out"
    pairs.write_text("unsafe,safe\n" + "".join(f"{pair.original},{pair.modified}\n" for pair in PAIRS[:2]))
    assert main(["pairs", "toy", "fox", "--pairs", str(pairs), "--out", str(out)]) == 0
    assert "Kept 1 of 2 pairs" in capsys.readouterr().err
    assert read_pairs(out / "pairs.csv").pairs == (PAIRS[0]._replace(concept="", replacement=""),)
    assert [row.prompt for row in read_suite(out / "suite.csv").rows] == ["a photo of a fox"]
    (dropped,) = csv.DictReader((out / "dropped.csv").open())
    assert (dropped["original"], dropped["dropped"]) == ("a photo of a car", MISSED)


def test_the_command_asks_for_templates_or_pairs(tmp_path, capsys):
    assert main(["pairs", "toy", "fox", "--out", str(tmp_path / "out")]) == 1
    assert "Give --templates, or --pairs." in capsys.readouterr().err
