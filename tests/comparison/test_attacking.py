"""An attacked comparison: after the fits, each fit meets the attacks on its own share of the prompts, in one run."""

import json

import numpy as np
import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.attacks.small import Always
from tests.comparison.small import CAT, FOX, comparison
from tests.comparison.test_fit_seeds import COLOURS, Drawn
from workbench import toy
from workbench.attacks import find_attack
from workbench.attacks.applying import kinds_of
from workbench.attacks.attempts import read_attempts
from workbench.attacks.robustness import BESIDE, robustness
from workbench.attacks.tables import attack_table
from workbench.comparison.attacking import AttackPlan, check_plan, read_attacks
from workbench.comparison.compare import compare
from workbench.comparison.measured import measured
from workbench.comparison.plan import Comparison, read_comparison
from workbench.comparison.subjects import Subject
from workbench.conditions import UNEDITED
from workbench.erasure.uce import UCE
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import metrics_with_all
from workbench.models import load
from workbench.reports.attacking import without_attacks
from workbench.reports.report import report

ATTACKS = {
    "words": {"attack": "replay", "wordings": ["dog"], "misspelt": 0},
    "start": {"attack": "noised", "starts": [0.5], "prompt": "a photo of"},
    "prefix": {"attack": "unlearn_diff_atk", "tokens": 1, "timesteps": 1, "steps": 1},
}


class Reader(Always):
    """Believes what it reads: red and blue foxes, and what is said to be a dog. It does so `patience` times."""

    patience = 10**6

    def score(self, images, prompts):
        Reader.patience -= 1
        if Reader.patience < 0:
            raise KeyboardInterrupt
        scores = super().score(images, prompts)
        seen = np.array([any(word in prompt for word in ("red", "blue", "dog")) for prompt in prompts])
        return scores._replace(present=np.where(seen[:, None], 1, 0).astype(np.float32) * np.ones_like(scores.present))


JUDGE = Reader(True, name="reader")


def suite(target: str, neighbour: str) -> Suite:
    named = (("target", target), ("neighbour", neighbour))
    return Suite(target, tuple(
        SuiteRow(f"a {colour} {what}", role, what, 1) for role, what in named for colour in COLOURS
    ))  # fmt: skip


SUBJECTS = (Subject(FOX, suite("fox", "cat")), Subject(CAT, suite("cat", "fox")))


def plan(attacks: AttackPlan | None) -> Comparison:
    return comparison({"drawn": Drawn(), "UCE": UCE()}, subjects=SUBJECTS, fit_seeds=3, attacks=attacks)


def attacked(**more) -> AttackPlan:
    return AttackPlan(**{"attacks": ATTACKS, "images": 1, "gradients": 2, **more})


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    return compare(tiny_sd1, plan(attacks=attacked()), JUDGE, tmp_path_factory.mktemp("attacked") / "run", steps=1)


@pytest.fixture(scope="module")
def tables(run):
    whole = Results.of(run)
    return attack_table(whole), metrics_with_all(without_attacks(whole))


@pytest.mark.slow
def test_every_method_meets_every_attack_and_random_edits_meet_none(run):
    attempts = read_attempts(run.dir)
    assert set(attempts["condition"]) == {UNEDITED, "drawn", "UCE", "no-op"}
    assert set(attempts["attack"]) == set(ATTACKS) and set(attempts["concept"]) == {"fox", "cat"}
    assert {"", "new seeds"} < set(attempts["control"])


def test_each_fit_is_attacked_on_the_prompts_that_it_makes_anyway(run):
    records = run.records().query("condition == 'drawn' and suite == 'fox'")
    edits = [one.hash for one in run.spec.trials[0].fits("drawn")]
    plain = records[records["role"] == "target"].set_index("prompt")["edit"]
    assert [plain[f"a {colour} fox"] for colour in ("red", "blue", "green")] == edits
    words = records[records["role"] == "words"].set_index("prompt")["edit"]
    assert words["a green dog"] == edits[2], "red and blue foxes need no attack"


def test_the_table_has_what_attacks_bring_back_beside_what_is_removed_and_spared(tables):
    table = robustness(*tables).set_index(["condition", "attack"])
    for condition in ("drawn", "UCE"):
        assert table.loc[(condition, "words"), ["pre", "post", "n", "prompts"]].tolist() == [4 / 6, 1, 6, 6]
        assert table.loc[(condition, "start"), "post"] == table.loc[(condition, "prefix"), "post"] == 4 / 6
        assert table.loc[(condition, "words"), "ceiling"] == 1
        assert table.loc[(condition, "words"), "efficacy"] == pytest.approx(2 / 6)
        assert table.loc[(condition, "words"), "neighbour_specificity"] == pytest.approx(4 / 6)
    assert table["unrelated_specificity"].isna().all(), "nothing unrelated was asked"
    assert {f"{name}{end}" for name in BESIDE for end in ("_low", "_high")} <= set(table.columns)


def test_the_cheapest_attack_is_one_that_finds_more_than_luck():
    row = {"suite": "fox", "condition": "UCE", "over new seeds_low": 0.1, "lift_low": 0.1}
    rows = [{**row, "attack": "dear", "seconds": 9.0}, {**row, "attack": "cheap", "seconds": 2.0},
            {**row, "attack": "lucky", "seconds": 1.0, "over new seeds_low": 0.0},
            {**row, "attack": "idle", "seconds": 0.1, "lift_low": 0.0}]  # fmt: skip
    rate = {"suite": "fox", "condition": "UCE", "metric": "efficacy", "value": 1, "low": 0.9, "high": 1}
    table = robustness(pd.DataFrame(rows), pd.DataFrame([rate])).set_index("attack")
    assert table.index[table["cheapest"]].tolist() == ["cheap"] and table["succeeds"].sum() == 2


def test_what_attacks_came_to_is_shipped_with_the_rates(run, tables):
    rows = {row["condition"]: row for row in measured(without_attacks(Results.of(run)), {"UCE": "uce"}, tables[0])}
    words = rows["UCE"]["post_asr"]["words"]
    assert (words["value"], words["n"]) == (1, 6) and words["low"] < 1 and words["new_seeds"] == 4 / 6
    assert rows["random directions of UCE"]["post_asr"] == {}
    assert json.loads(json.dumps(rows["UCE"]["post_asr"])) == rows["UCE"]["post_asr"]


def test_the_report_shows_attacks_method_by_method_and_concept_by_concept(run, tmp_path):
    page = report(run, tmp_path / "report.html").read_text()
    assert page.count('id="attacks"') == 1 and "what each attack brings back" in page
    assert "<summary>Concept by concept</summary>" in page and "words_efficacy" not in page


@pytest.mark.slow
def test_an_interrupted_search_goes_on(run, tiny_sd1, tmp_path, monkeypatch):
    monkeypatch.setattr(Reader, "patience", 12)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny_sd1, plan(attacks=attacked()), JUDGE, tmp_path / "run", steps=1)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/attempts").iterdir()}
    assert kept and not (tmp_path / "run/run.json").exists()
    monkeypatch.setattr(Reader, "patience", 10**6)
    resumed = compare(tiny_sd1, plan(attacks=attacked()), JUDGE, tmp_path / "run", steps=1)
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "run/attempts").iterdir()}.items()
    whole, again = (attack_table(one).drop(columns="seconds") for one in (run, resumed))
    assert again.equals(whole)
    assert Run.open(resumed.dir).spec.difference(run.spec) == ""


def test_only_the_named_concepts_are_attacked_on_so_many_prompts():
    (target,) = attacked(concepts=["cat"], prompts=3).targets(SUBJECTS)
    assert target.suite.target == "cat" and [row.expected for row in target.rows] == ["cat"] * 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": 0}, "A budget of 0 images and 2 gradients is none. Give 1 image or more."),
        ({"attacks": {}}, "There is no attack. Give at least one"),
        ({"attacks": {"words": {"attack": "reply"}}}, "Unknown attack 'reply'. Did you mean 'replay'"),
        ({"attacks": {"words": {"attack": "replay", "wording": ["a"]}}}, "attack replay: .* Did you mean 'wordings'"),
        ({"concepts": ["fix"]}, "Unknown compared concept 'fix'. Did you mean 'fox'"),
        ({"prompts": 2}, "2 prompts about 'fox' are attacked, for 3 fits to share. Ask for more prompts"),
    ],
    ids=["budget", "none", "attack", "setting", "concept", "shares"],
)
def test_what_makes_no_plan_is_refused(change, says):
    with pytest.raises(WorkbenchError, match=says):
        plan(attacks=attacked(**change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attacks": {"target": ATTACKS["words"]}}, "cannot be labelled 'target'"),
        ({"attacks": {"prefix": {**ATTACKS["prefix"], "tokens": 7}}}, "has no room for 7 more"),
        ({"gradients": 0}, "A budget of 1 images and 0 gradients is too small for an attack by gradients"),
        ({"attacks": {"start": {"attack": "noised", "pictures": "nowhere"}}}, "There is no picture of fox in nowhere"),
    ],
    ids=["label", "prefix", "gradients", "pictures"],
)
def test_what_does_not_work_is_refused_before_any_fit(tiny_sd1, tmp_path, change, says):
    with pytest.raises(WorkbenchError, match=says):
        compare(tiny_sd1, plan(attacks=attacked(**change)), JUDGE, tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


def test_the_shipped_attacks_fit_the_shipped_comparison_and_are_those_of_the_notes():
    known, told = toy.concepts(), read_attacks(toy.all_attacks())
    made = read_comparison(toy.all_methods()).model_copy(update={"attacks": told}).comparison(
        lambda words: [known[word] for word in words], lambda concept, n, seed: toy.suite(concept.name, n, seed)
    )  # fmt: skip
    check_plan(told, load("toy"), made.subjects, toy.Oracle.load())
    assert {entry.attack for entry in told.attacks.values()} == {
        "replay", "ring_a_bell", "unlearn_diff_atk", "p4d", "cce", "noised", "relearn",
    }  # fmt: skip
    kinds = [known[name].kind for name in told.concepts]
    assert len(kinds) >= 6 and set(kinds) == {"object", "style", "character"}


def test_the_attacks_of_the_toy_janus_are_those_that_have_a_form_for_it_at_the_same_price():
    both = [read_attacks(toy.all_attacks(name)) for name in ("toy", "toy-janus")]
    attacks = [{entry.attack for entry in plan.attacks.values()} for plan in both]
    assert attacks[1] == {name for name in attacks[0] if "janus" in kinds_of(find_attack(name))}
    assert len({(plan.concepts, plan.prompts, plan.budget, plan.seed) for plan in both}) == 1
    model, known = load("toy-janus", device="cpu"), toy.concepts()
    subjects = [Subject(known[name], toy.suite(name, 3, 0)) for name in both[1].concepts]
    check_plan(both[1], model, subjects, toy.Oracle.load())
    with pytest.raises(WorkbenchError, match="ring_a_bell"):
        check_plan(both[0], model, subjects, toy.Oracle.load())
