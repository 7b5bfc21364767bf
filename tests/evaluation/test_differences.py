"""What can be told apart and what cannot: paired gaps, the set of the best, and the effect of an order."""

import numpy as np
import pytest

from tests.evaluation.drawn import ColourJudge, drawn_run, picture, spec, suite
from workbench.conditions import UNEDITED
from workbench.evaluation.differences import among_best, best_methods, order_effects
from workbench.evaluation.judging import judge
from workbench.evaluation.roles import in_order
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec
from workbench.evaluation.tables import metrics


def leaves(*numbers: int):
    """Paints the target for these prompt numbers, its anchor for all others."""
    return lambda row: row.expected if row.expected != "red" or int(row.prompt[-1]) in numbers else "orange"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    paints = {
        "good": leaves(0), "same": leaves(0), "worse": leaves(0, 1, 2, 3, 4, 5),
        "noise": lambda row: "noise", "no-op": lambda row: row.expected,
    }  # fmt: skip
    return drawn_run(tmp_path_factory.mktemp("differences") / "run", paints, suite(n=8))


def rows(table, metric):
    return table[table["metric"] == metric].set_index("condition")


def test_gaps_are_paired_and_counted_from_the_best(run):
    efficacy = rows(best_methods(run), "efficacy")
    assert set(efficacy.index) == {"good", "same", "worse"}  # the damaged one and the control do not compete
    assert efficacy["gap"].to_dict() == pytest.approx({"good": 0, "same": 0, "worse": 0.625})
    assert efficacy["among_best"].to_dict() == {"good": True, "same": True, "worse": False}
    assert efficacy.loc["worse", "gap_low"] > 0 and efficacy.loc["same", ["gap_low", "gap_high"]].tolist() == [0, 0]


def test_pairing_finds_what_separate_intervals_hide(run):
    alone = rows(metrics(run), "efficacy")
    assert alone.loc["worse", "high"] > alone.loc["good", "low"]  # they overlap
    assert not rows(best_methods(run), "efficacy").loc["worse", "among_best"]  # 5 prompts to 0


def test_less_drift_is_better(run):
    drift, shown = rows(best_methods(run), "pixel_drift"), rows(metrics(run), "pixel_drift")["value"]
    assert (drift["gap"] >= 0).all() and drift["gap"].min() == 0
    assert drift["gap"].idxmin() == shown[["good", "same", "worse"]].idxmin()


def test_the_best_is_in_the_set_with_its_confidence():
    rng, prompts, kept = np.random.default_rng(0), 40, []
    truth = np.array([0.5, 0.5, 0.5, 0.2])
    for _ in range(200):
        answers = rng.random((4, prompts)) < truth[:, None]
        weights = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=300)
        kept.append(among_best(answers.mean(axis=1), answers @ weights.T / prompts))
    share = np.mean(kept, axis=0)
    assert (share[:3] > 0.9).all() and (share[:3] < 1).all()  # each of the three is a best one
    assert share[3] < 0.15


def test_a_few_images_beside_certainty_are_no_finding(tmp_path):
    """8 of 8 has no variance: the bootstrap alone would call 6 of 8 worse, where the test over prompts has p = 1."""
    paints = {"all": leaves(), "two less": leaves(1), "half": leaves(1, 2)}
    efficacy = rows(best_methods(drawn_run(tmp_path / "run", paints, suite(n=4))), "efficacy")
    assert efficacy["gap"].to_dict() == pytest.approx({"all": 0, "two less": 0.25, "half": 0.5})
    assert efficacy["among_best"].to_dict() == {
        "all": True,
        "two less": True,
        "half": True,
    }  # p = ½
    five = drawn_run(tmp_path / "five", {"all": leaves(), "worse": leaves(1, 2, 3, 4, 5)}, suite(n=8))
    assert not rows(best_methods(five), "efficacy").loc["worse", "among_best"]  # five to none, p = 1/16


def test_more_rivals_widen_the_set():
    """A set for many methods must allow for the luckiest of them."""
    rng = np.random.default_rng(1)
    values = np.array([0.62, 0.5, *[0.5] * 18])
    draws = values[:, None] + 0.05 * rng.standard_normal((20, 2000))
    assert not among_best(values[:2], draws[:2])[1]
    assert any(among_best(values, draws)[1:])


def test_a_single_method_is_the_best(tmp_path):
    table = best_methods(drawn_run(tmp_path / "run", {"only": leaves()}))
    assert table["among_best"].all() and (table["gap"] == 0).all()


def test_several_concepts_are_pooled_first(tmp_path):
    table = best_methods(drawn_run(tmp_path / "run", {"a": leaves(), "b": leaves(1)}, suite(), suite("blue", "green")))
    assert list(dict.fromkeys(table["concept"])) == ["all", "red", "blue"]


def ordered_run(folder):
    """One edit for red and blue in both orders; the second order leaves red in the prompts 0 to 5."""
    paints = {"uce: red then blue": leaves(), "uce: blue then red": leaves(0, 1, 2, 3, 4, 5), "uce, jointly": leaves()}
    edits = {
        name: EditSpec(
            hash=f"hash-{place}", kind="weight" if "jointly" in name else "composed", method="uce",
            concepts=("blue", "red") if name.startswith("uce: blue") else ("red", "blue"), settings={}, seed=0,
        )
        for place, name in enumerate(paints)
    }  # fmt: skip
    run = Run.begin(folder, spec(edits, suite(n=8)))
    for name, edit in run.spec.trials[0].conditions.items():
        for row in run.spec.trials[0].rows:
            one = run.spec.cell(edit, row)
            run.write_image(one, picture(row.expected if name == UNEDITED else paints[name](row), row.seed), 0.1)
    return judge(run, ColourJudge())


def test_the_effect_of_an_order_is_a_paired_difference(tmp_path):
    table = order_effects(ordered_run(tmp_path / "run")).set_index("metric")
    assert list(table.index) == in_order(table.index), "no order of a hash"
    assert set(table["there"]) == {"uce: red then blue"} and set(table["back"]) == {"uce: blue then red"}
    row = table.loc["efficacy"]
    assert row["difference"] == pytest.approx(0.75) and 0 < row["low"] < 0.75 < row["high"]
    assert table.loc["unrelated_specificity", "difference"] == 0


def test_without_orders_there_is_no_effect_of_one(run):
    assert order_effects(run).empty and "difference" in order_effects(run)


def test_edits_of_several_concepts_compete_among_themselves(tmp_path):
    run = ordered_run(tmp_path / "run")
    trial = run.spec.trials[0]
    alone = replace_edit(trial.conditions["uce, jointly"], "alone")
    conditions = {**trial.conditions, "uce": alone}
    spec = run.spec.model_copy(update={"trials": (trial.model_copy(update={"conditions": conditions}),)})
    other = Run.begin(tmp_path / "other", spec)
    for name, edit in conditions.items():
        for row in trial.rows:
            paint = "red" if name == "uce" and row.expected == "red" else row.expected
            one = spec.cell(edit, row)
            other.write_image(one, picture(paint if name in ("uce", UNEDITED) else leaves()(row), row.seed), 0.1)
    efficacy = rows(best_methods(judge(other, ColourJudge())), "efficacy")
    assert efficacy.loc["uce", "among_best"] and efficacy.loc["uce", "gap"] == 0  # the worst, but of another task
    assert efficacy["among_best"].all()


def replace_edit(edit: EditSpec, name: str) -> EditSpec:
    return edit.model_copy(update={"hash": name, "concepts": ("red",)})
