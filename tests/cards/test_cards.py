"""Model cards of edits: that the figures are the run's, for people and for programs, and what is refused."""

import json

import pytest

from saes.errors import WorkbenchError
from saes.strict_yaml import from_yaml
from tests.evaluation.small import Scaled
from tests.safety.small import Words, people, violence
from workbench.cards.card import card_of, markdown, write_card
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import metrics
from workbench.protocols.protocol import Protocol
from workbench.protocols.running import FIGURES_FILE, protocol_table, run_protocol, trials_of
from workbench.safety.running import safety
from workbench.safety.tables import safety_table

EDIT = Scaled(-1.0)
GRID = Protocol(
    about="a", source="b", figures="erased", reads="found", judge="c", prompts=("a {thing}, 1", "a {thing}, 2"),
    domains={"thing": ("violence", "woman", "man")}, differs=("It is made up.",), sampling={"steps": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    rows = [SuiteRow(f"a {name}, {place}", role, name, place)
            for name, role in (("woman", "target"), ("man", "unrelated")) for place in range(3)]  # fmt: skip
    folder = tmp_path_factory.mktemp("run") / "out"
    return evaluate(tiny_sd1, {"scaled": EDIT}, Suite("woman", tuple(rows)), Words(), folder, floor=0.0, steps=1)


@pytest.fixture(scope="module")
def safe(tiny_sd1, tmp_path_factory):
    judges = {"fairness": [Words()], "toxicity": [Words()]}
    folder = tmp_path_factory.mktemp("safety") / "out"
    return safety(tiny_sd1, {"scaled": EDIT}, [people(), violence()], judges, folder, prompts=6, pictures=1, steps=1)


def test_the_figures_of_a_card_are_those_of_the_run(run):
    card = card_of(EDIT, run.dir)
    table = metrics(run).set_index(["condition", "metric"])["value"]
    found = {row["metric"]: row["value"] for row in card.figures}
    for metric in ("efficacy", "unrelated_specificity"):
        assert found[metric] == pytest.approx(table["scaled", metric], nan_ok=True)
    assert {row["condition"] for row in card.figures} == {"scaled"} and card.sampling["steps"] == 1
    assert card.base["fingerprint"] == run.spec.model.fingerprint and card.judges[0]["name"] == "words"


def test_front_matter_is_yaml_and_says_what_the_json_says(run, tmp_path):
    card = card_of(EDIT, run.dir)
    write_card(card, tmp_path / "card")
    text = (tmp_path / "card" / "card.md").read_text()
    _, front, body = text.split("---\n", 2)
    said, whole = from_yaml(front, "card"), json.loads((tmp_path / "card" / "card.json").read_text())
    assert said["figures"] == whole["figures"] and said["base_model"] == whole["base"]["name"]
    assert "## What this does not show" in body and "| --- |" in body
    with pytest.raises(WorkbenchError, match="exists"):
        write_card(card, tmp_path / "card")


def test_a_card_says_what_a_run_did_not_ask(run):
    said = " ".join(card_of(EDIT, run.dir).limits)
    for words in ("Nobody attacked", "No control", "One judge", "not validated", "One fit", "in other words"):
        assert words in said


def test_a_card_of_a_safety_run_has_every_domain_and_who_is_depicted(safe):
    card = card_of(EDIT, safe.dir)
    rows = {(row["task"], row["metric"]): row for row in card.figures if "task" in row}
    table = safety_table(safe).set_index(["task", "condition"])
    assert rows["violence", "safe rate"]["value"] == table.loc["violence", "scaled"]["value"]
    assert rows["gender", "NKL"]["floor"] == pytest.approx(table.loc["gender", "scaled"]["floor"])
    assert any(row["metric"] == "depicted: gender woman" for row in card.figures)
    assert any("pictures of people are few" in sentence for sentence in card.limits)
    assert "fairness / gender" in markdown(card)


def test_a_card_of_a_protocol_has_its_figures_beside_the_unedited_models(tiny_sd1, tmp_path):
    trials = trials_of(GRID, {"scaled": EDIT}, targets=["violence"])
    made = run_protocol(tiny_sd1, GRID, trials, [Words()], tmp_path / "out")
    with pytest.raises(WorkbenchError, match="not finished"):
        card_of(EDIT, tmp_path / "out")
    table = protocol_table(GRID, made, [Words()])
    table.to_csv(tmp_path / "out" / FIGURES_FILE, index=False)
    card = card_of(EDIT, tmp_path / "out")
    before = table[(table["condition"] == "unedited") & (table["figure"] == "acc_s")]["value"].item()
    (row,) = (row for row in card.figures if row["metric"] == "acc_s")
    assert row["unedited"] == before and "It is made up." in card.limits


def test_another_edit_and_another_folder_are_refused(run, tmp_path):
    with pytest.raises(WorkbenchError, match="no figure of this edit"):
        card_of(Scaled(-2.0), run.dir)
    with pytest.raises(WorkbenchError, match="no folder of evaluate"):
        card_of(EDIT, tmp_path)
