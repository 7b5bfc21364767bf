"""Tables of a drawn run, counted by hand: 8 images of 4 prompts a role (16 of 8 unrelated ones)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.statistics import harmonic_mean, wilson
from tests.evaluation.drawn import altered, drawn_run, suite
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.evaluation.tables import concept_matrix, metrics, verdict_shares


def erases_some(row: Row) -> str:
    """Target: 6 of 8 gone (all but prompt 0). Synonym: 4 of 8 gone. Neighbour: 2 of 8 lost. Unrelated: kept."""
    number = int(row.prompt.split(", ")[1])
    gone = {"target": number > 0, "synonym": number % 2 == 0, "neighbour": number == 3, "unrelated": False}[row.role]
    return "nothing" if gone else row.expected


PAINTS = {
    "some": erases_some,
    "no-op": lambda row: row.expected,
    "noise": lambda row: "noise",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return drawn_run(tmp_path_factory.mktemp("tables") / "run", PAINTS)


@pytest.fixture(scope="module")
def table(run: Run) -> pd.DataFrame:
    return metrics(run).set_index(["condition", "metric"])


def test_the_metrics_are_the_counted_shares(table: pd.DataFrame) -> None:
    expected = {"efficacy": 6 / 8, "generality": 4 / 8, "neighbour_specificity": 6 / 8, "unrelated_specificity": 1.0}
    for metric, value in expected.items():
        assert table.loc[("some", metric), "value"] == value
    assert table.loc[("some", "harmonic_mean"), "value"] == pytest.approx(harmonic_mean(list(expected.values())))
    assert table.loc[("some", "efficacy"), ["n", "prompts"]].tolist() == [8, 4]
    assert table.loc[("some", "unrelated_specificity"), ["n", "prompts"]].tolist() == [16, 8]


def test_the_difference_is_from_the_unedited_model(table: pd.DataFrame) -> None:
    efficacy, neighbours = table.loc[("some", "efficacy")], table.loc[("some", "neighbour_specificity")]
    assert (efficacy["unedited"], efficacy["difference"]) == (0, 6 / 8)
    assert (neighbours["unedited"], neighbours["difference"]) == (1, -2 / 8)
    assert neighbours["difference_low"] < -2 / 8 < neighbours["difference_high"] <= 0
    assert efficacy["p_value"] == pytest.approx(2 * 0.5**3)  # three prompts, not six images
    assert table.loc[("unedited", "efficacy"), "difference"] == 0


def test_an_interval_is_never_narrower_than_wilsons(table: pd.DataFrame) -> None:
    certain = table.loc[("some", "unrelated_specificity")]
    assert certain["low"] == pytest.approx(wilson(8, 8).low)  # of 16 images of 8 prompts
    clustered = table.loc[("some", "generality")]  # both images of a prompt agree, so 8 images count for less than 8
    assert clustered["low"] <= 0.0 + 1e-9 < wilson(4, 8).low


def test_a_no_op_drifts_by_nothing(table: pd.DataFrame) -> None:
    assert table.loc[("no-op", "pixel_drift"), "value"] == 0
    assert table.loc[("no-op", "feature_drift"), "value"] == 0
    assert table.loc[("some", "pixel_drift"), "value"] > 0.01
    assert table.loc[("no-op", "efficacy"), ["difference", "p_value"]].tolist() == [0, 1]


def test_a_model_that_makes_noise_is_marked_damaged_and_keeps_nothing(table: pd.DataFrame) -> None:
    noise = table.loc["noise"]
    assert set(noise["mark"]) == {"damaged"}
    assert noise.loc["efficacy", "value"] == noise.loc["generality", "value"] == 0  # an absent picture erases nothing
    assert noise.loc["neighbour_specificity", "value"] == noise.loc["harmonic_mean", "value"] == 0
    assert noise.loc["intact", "value"] == 0
    assert set(table.loc["some", "mark"]) == {""}


def test_a_concept_that_the_unedited_model_does_not_show_voids_its_metric(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"some": erases_some})
    records = run.records()
    synonyms = (records["role"] == "synonym") & (records["condition"] == "unedited")
    records.loc[synonyms & (records["prompt"].str[-1].isin(["0", "1"])), "shown"] = False  # exactly half: not enough
    table = metrics(altered(run, records)).set_index(["condition", "metric"])
    void = table.loc[("some", "generality")]
    assert void["mark"] == "void"
    assert np.isnan(void["value"])
    assert void["unedited"] == 0.5
    assert table.loc[("some", "harmonic_mean"), "mark"] == "void"
    assert table.loc[("some", "efficacy"), "mark"] == ""


@pytest.mark.parametrize("order", range(3))
def test_images_are_paired_by_prompt_and_seed_and_not_by_their_order(run: Run, order: int) -> None:
    records = run.records()
    unedited = (records["condition"] == "unedited") & (records["role"] == "target")
    records.loc[unedited & records["prompt"].str.endswith("1"), "shown"] = False
    results = altered(run, records.sample(frac=1, random_state=order))
    efficacy = metrics(results).set_index(["condition", "metric"]).loc[("some", "efficacy")]
    # prompt 0 kept, prompt 1 absent before and after, prompts 2 and 3 lost: two prompts of one kind, none of the other
    assert efficacy["p_value"] == pytest.approx(2 * 0.5**2)
    assert (efficacy["value"], efficacy["unedited"], efficacy["n"]) == (6 / 8, 2 / 8, 8)


def test_verdict_shares_add_up(run: Run) -> None:
    shares = verdict_shares(run)
    totals = shares.groupby(["concept", "condition", "role"])["share"].sum()
    np.testing.assert_allclose(totals, 1)
    some = shares[(shares["condition"] == "some") & (shares["role"] == "target")].set_index("verdict")["count"]
    assert some.to_dict() == {"target": 2, "anchor": 0, "other": 0, "nothing": 6, "broken": 0, "as prompted": 0}
    neighbours = shares[(shares["condition"] == "some") & (shares["role"] == "neighbour")].set_index("verdict")["count"]
    assert neighbours[["as prompted", "anchor", "nothing"]].tolist() == [6, 0, 2]
    noise = shares[shares["condition"] == "noise"]
    assert noise.loc[noise["verdict"] == "broken", "share"].eq(1).all()


def test_the_matrix_says_what_erasing_each_concept_does_to_each(tmp_path: Path) -> None:
    def red_takes_orange_along(row: Row) -> str:
        return "nothing" if row.expected in ("red", "orange") else row.expected

    suites = suite("red", "orange"), suite("blue", "green")
    run = drawn_run(tmp_path / "run", {"edit": red_takes_orange_along}, *suites)
    matrix = concept_matrix(run).set_index(["condition", "erased", "concept"]).sort_index()
    edit = matrix.loc["edit"]
    assert edit.loc[("red", "red"), "difference"] == edit.loc[("red", "orange"), "difference"] == -1
    assert edit.loc[("red", "green"), "difference"] == 0
    assert edit.loc[("blue", "blue"), "rate"] == 1
    assert edit.loc[("red", "red"), "n"] == 16  # target and synonym prompts
    assert ("blue", "orange") not in edit.index  # no prompt of that trial names it
    assert (matrix.loc["unedited", "difference"] == 0).all()
