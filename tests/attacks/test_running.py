"""Runs of attacks: what is searched once is kept, controls draw as much, and tables say what the pictures show."""

import shutil
from dataclasses import replace

import pytest

from saes.errors import WorkbenchError
from tests.attacks.painter import ERASED, JUDGE, NO_OP, PROMPTS, SUITE, Before, painter
from workbench.attacks.attack import Budget
from workbench.attacks.attempts import read_attempts
from workbench.attacks.replay import Replay
from workbench.attacks.running import run_attacks
from workbench.attacks.searching import search
from workbench.attacks.tables import attack_table, budget_curve, cheapest_attacks, transfer_matrix
from workbench.attacks.target import Target
from workbench.evaluation.evaluate import evaluate, evaluate_concepts
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import metrics
from workbench.reports.report import report

EDITS = {"erased": ERASED, "no-op": NO_OP}
ATTACKS = {"before": Before(), "wrong": Replay(wordings=("red dog", "red bear", "red fox"))}
BLUE = Suite("blue", tuple(SuiteRow(f"blue {one}", "target", "blue", seed) for seed, one in enumerate("ab")))


def run_in(folder, **told):
    given = {"budget": Budget(images=3), "never_known": BLUE, "transfer": True, "batch_size": 3, **told}
    return run_attacks(painter(), EDITS, SUITE, ATTACKS, JUDGE, folder, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("attacks") / "run")


@pytest.fixture(scope="module")
def table(run):
    return attack_table(run).set_index(["condition", "attack"])


def test_an_attack_is_counted_with_what_needs_none(table):
    """Of 8 rows, the two of "red open" succeed by themselves; the right word brings the others back, the wrong none."""
    before, wrong = (table.loc[("erased", name)] for name in ATTACKS)
    assert (before["pre"], before["post"], before["lift"]) == (0.25, 1.0, 0.75)
    assert (wrong["pre"], wrong["post"], wrong["lift"]) == (0.25, 0.25, 0.0)
    assert 0 < before["lift_low"] < before["lift"] < before["lift_high"] + 1e-9
    assert (before["n"], before["prompts"], before["mark"]) == (8, 4, "")


def test_rows_of_one_prompt_are_not_counted_as_independent(table):
    """Post is all of 8 rows, and yet the interval is that of 4 prompts: Wilson's, to 51 %."""
    assert table.loc[("erased", "before"), "post_low"] == pytest.approx(0.51, abs=0.005)


def test_costs_are_those_of_the_rows_that_needed_an_attack(table):
    """Six rows took two pictures each; six rows took three."""
    assert table.loc[("erased", "before"), "images"] == 12 / 8 and table.loc[("erased", "wrong"), "images"] == 18 / 8
    assert table.loc[("erased", "before"), "drawn"] == 2 and table.loc[("erased", "wrong"), "drawn"] == 3
    assert table["gradients"].eq(0).all() and table.loc["erased", "seconds"].gt(0).all()


def test_controls_draw_as_many_pictures_as_the_attack(run):
    attempts = read_attempts(run.dir)
    own = attempts[(attempts["condition"] == "erased") & ~attempts["already"]]
    for attack, most in (("before", 2), ("wrong", 3)):
        seeds = own[(own["attack"] == attack) & (own["control"] == "new seeds")]
        assert len(seeds) == 6 and seeds["images"].max() <= most
        assert (seeds["images"][~seeds["success"]] == most).all()
        assert set(seeds["prompt"]) == set(PROMPTS[:3]) and not (seeds["seed"] == seeds["plain_seed"]).any()
        assert (seeds["seed"] % 2 == 0).equals(seeds["success"]), "luck is an even seed"
    assert set(own.loc[own["control"] == "at random", "attack"]) == {"before"}


def test_an_attack_is_compared_with_its_controls(run, table):
    before, wrong = (table.loc[("erased", name)] for name in ATTACKS)
    for row in (before, wrong):
        assert row["over new seeds"] == pytest.approx(row["post"] - row["new seeds"])
        assert row["over new seeds_low"] <= row["over new seeds"] <= row["over new seeds_high"]
    assert wrong["over new seeds"] <= 0 and before["over at random"] > 0
    assert wrong[["at random", "over at random"]].isna().all()


def test_a_no_op_is_the_ceiling_and_what_was_never_known_stays_unknown(table):
    for attack in ATTACKS:
        unedited = table.loc[("unedited", attack)]
        known = unedited[unedited["suite"] == "red"].iloc[0]
        same = table.loc[("no-op", attack)]
        assert same["pre"] == known["pre"] == same["ceiling"] == 1
        assert table.loc[("erased", attack), "never known"] == 0
        assert unedited.loc[unedited["suite"] == "blue", "post"].item() == 0


def test_what_was_made_against_one_edit_is_tried_on_the_others(run):
    matrix = transfer_matrix(run).set_index(["attack", "made_against", "tried_on"])["asr"]
    assert matrix["before", "erased", "no-op"] == 1
    assert matrix["before", "no-op", "erased"] == 0.25, "against a no-op plain prompts suffice; here they do not"
    assert matrix["before", "erased", "erased"] == 1 and matrix["wrong", "erased", "erased"] == 0.25


def test_successes_are_counted_by_what_they_took(run):
    curve = budget_curve(run)
    own = curve[(curve["condition"] == "erased") & (curve["attack"] == "before") & (curve["control"] == "")]
    images = own[own["unit"] == "images"].set_index("spent")["asr"]
    assert images.to_dict() == {0: 0.25, 2: 1.0}
    assert own[own["unit"] == "gradients"].set_index("spent")["asr"].to_dict() == {0: 1.0}


def test_the_cheapest_attack_is_one_that_succeeds(run):
    cheapest = cheapest_attacks(attack_table(run)).set_index("condition")
    assert cheapest.loc["no-op", "attack"] == "", "where nothing was erased, an attack adds nothing"
    assert cheapest.loc["erased", "attack"] in ("", "before")


def test_the_usual_tables_show_attacks_beside_the_rest(run):
    rows = metrics(run).set_index(["concept", "condition", "metric"])["value"]
    assert rows["red", "erased", "efficacy"] == 0.75 and rows["red", "erased", "before_efficacy"] == 0


def test_what_was_searched_is_not_searched_again(run, tmp_path):
    shutil.copytree(run.dir, tmp_path / "run")
    for path in (tmp_path / "run/attempts").iterdir():
        if path.name.startswith("0"):
            path.unlink()
    model = painter()
    targets = [Target(SUITE, EDITS, ATTACKS), Target(BLUE, {}, ATTACKS, never_known=True)]
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/attempts").iterdir()}
    search(model, targets, JUDGE, tmp_path / "run", budget=Budget(images=3), batch_size=3)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/attempts").iterdir()}
    assert before.items() <= after.items() and before.keys() < after.keys()
    asked = model.asked
    search(model, targets, JUDGE, tmp_path / "run", budget=Budget(images=3), batch_size=3)
    assert model.asked == asked, "everything was there"
    assert (
        attack_table(run_in(tmp_path / "run")).drop(columns="seconds").equals(attack_table(run).drop(columns="seconds"))
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"edits": {}}, "nothing to attack"),
        ({"attacks": {}}, "nothing to attack"),
        ({"attacks": {"target": Before()}}, "cannot be labelled 'target'"),
        ({"suite": Suite("owl", (SuiteRow("an owl", "target", "owl", 1),))}, "Unknown concept of the judge"),
        ({"suite": BLUE}, "below the floor"),
    ],
    ids=["no edit", "no attack", "label", "judge", "floor"],
)
def test_what_cannot_be_attacked_is_refused(tmp_path, change, says):
    given = {"edits": EDITS, "suite": SUITE, "attacks": ATTACKS, **change}
    with pytest.raises(WorkbenchError, match=says):
        run_attacks(painter(), given["edits"], given["suite"], given["attacks"], JUDGE, tmp_path / "run")


def test_other_attacks_need_a_folder_of_their_own(run):
    with pytest.raises(WorkbenchError, match=r"holds another run \(attacks differ\)"):
        run_attacks(painter(), EDITS, SUITE, {"before": Before()}, JUDGE, run.dir)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("dear")
    with pytest.raises(WorkbenchError, match="holds other files"):
        run_attacks(painter(), EDITS, SUITE, ATTACKS, JUDGE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_several_suites_are_shown_together_too(tmp_path):
    """Of two suites about one concept, 12 of 16 rows need the right word; the intervals are those of all prompts."""
    targets = [Target(replace(SUITE, name=name), EDITS, ATTACKS) for name in ("one", "two")]
    trials = search(painter(), targets, JUDGE, tmp_path / "run", budget=Budget(images=3))
    table = attack_table(evaluate_concepts(painter(), trials, JUDGE, tmp_path / "run"))
    whole = table[table["suite"] == "all"].set_index(["condition", "attack"])
    assert (whole.loc[("erased", "before"), ["pre", "post", "n", "prompts"]] == [0.25, 1, 16, 8]).all()
    assert set(table["suite"]) == {"all", "one", "two"}
    assert whole.loc[("erased", "before"), "ceiling"] == 1


def test_of_several_fits_each_is_attacked_on_its_own_share(tmp_path):
    """Prompts go to the fits in turn: "red a" and "red c" to one that erases, the others to one that does nothing."""
    fitted = {"fitted": (ERASED, NO_OP), "random": (NO_OP, NO_OP), "once": ERASED}
    run = run_attacks(painter(), fitted, SUITE, ATTACKS, JUDGE, tmp_path / "run", budget=Budget(images=3))
    table = attack_table(run).set_index(["condition", "attack"])
    assert (table.loc[("fitted", "before"), ["pre", "post", "n", "prompts"]] == [0.5, 1, 8, 4]).all()
    assert table.loc[("fitted", "wrong"), "post"] == 0.5
    assert (table.loc[("once", "before"), ["pre", "post"]] == [0.25, 1]).all()
    records = run.records()
    own = records[records["condition"] == "fitted"]
    erased, no_op = (one.hash for one in run.spec.trials[0].fits("fitted"))
    assert set(own[own["role"] == "before"].groupby("edit")["prompt"].unique()[erased]) == {"cat red a", "cat red c"}
    assert set(own[own["role"] == "before"].groupby("edit")["prompt"].unique()[no_op]) == {"red b", "red open"}
    plain = own[own["role"] == "target"].groupby("edit")["prompt"].unique()
    assert set(plain[erased]) == {"red a", "red c"}, "attacks do not change who makes what is asked anyway"


def test_only_so_many_rows_are_attacked_as_are_asked_for():
    few = Target(SUITE, {"fitted": (ERASED, NO_OP)}, ATTACKS, most=3)
    assert [(row.prompt, row.share) for row in few.rows] == [("red a", 0), ("red a", 0), ("red b", 1)]


def test_the_floor_is_that_of_all_prompts_together(tmp_path):
    """The judge finds no blue in the unedited pictures, and red in four times as many."""
    targets = [Target(BLUE, EDITS, ATTACKS), Target(SUITE, EDITS, ATTACKS)]
    assert len(search(painter(), targets, JUDGE, tmp_path / "run", budget=Budget(images=1))) == 2
    with pytest.raises(WorkbenchError, match="80% of the unedited images, below the floor"):
        search(painter(), targets, JUDGE, tmp_path / "run", budget=Budget(images=1), floor=0.9)


def test_a_report_shows_attacks_apart(run, tmp_path):
    page = report(run, tmp_path / "report.html").read_text()
    assert page.count('id="attacks"') == 1 and "before: prompts made against one edit" in page
    assert "erased, attacked" in page and "before_efficacy" not in page
    assert "erased, red: before, from 25\u202f% to 100\u202f%" in page or "no attack finds more" in page
    without = report(evaluate(painter(), EDITS, SUITE, JUDGE, tmp_path / "plain"), tmp_path / "plain.html").read_text()
    assert 'id="attacks"' not in without


def test_attempts_of_another_run_are_noticed(run, tmp_path):
    shutil.copytree(run.dir, tmp_path / "run")
    targets = [Target(SUITE, EDITS, ATTACKS), Target(BLUE, {}, ATTACKS, never_known=True)]
    assert search(painter(), targets, JUDGE, tmp_path / "run", seed=9)
    with pytest.raises(WorkbenchError, match="not those of its pictures"):
        attack_table(replace(run, dir=tmp_path / "run"))
