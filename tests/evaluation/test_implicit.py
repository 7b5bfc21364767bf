"""How often a concept comes unasked, by several who look, counted on pictures that are drawn."""

import numpy as np
import pytest

from probes.agreement import clustered_wilson
from saes.errors import WorkbenchError
from tests.evaluation.drawn import ColourJudge, drawn_run, picture, suite
from workbench.evaluation.implicit import implicit_ratios
from workbench.evaluation.judges import Scores
from workbench.evaluation.sets import FID
from workbench.evaluation.suites import Suite, SuiteRow


class Reddish:
    """A detector of one colour, which has no features and sees nothing else; it sees orange too."""

    name, version, validated, concepts, thresholds = "reddish", "1", "", {"red": "colour"}, {"red": 0.5}

    def score(self, images, prompts):
        middle = images[:, 8:-8, 8:-8].astype(float).mean((1, 2))
        return Scores((middle[:, 0] - middle[:, 2] > 100).astype(np.float32)[:, None])


@pytest.fixture
def run(tmp_path):
    rows = [SuiteRow(f"a picture, {i}", "implied", "red", seed) for i in range(5) for seed in (1, 2)]
    paints = {
        "half": lambda row: "red" if row.role != "implied" or row.seed == 1 else "nothing",
        "swapped": lambda row: "orange" if row.role == "implied" else row.expected,
        "gone": lambda row: "nothing",
    }
    return drawn_run(tmp_path / "run", paints, Suite("red", (*suite(n=2).rows, *rows), anchor="orange"))


def test_the_ratio_is_the_share_of_pictures_that_were_not_asked_for_it(run):
    table = implicit_ratios(run, [ColourJudge(), Reddish()]).set_index(["condition", "judge"])
    colour, reddish = (table.xs(judge.name, level="judge") for judge in (ColourJudge(), Reddish()))
    assert colour["icr"].to_dict() == {"unedited": 1.0, "half": 0.5, "swapped": 0.0, "gone": 0.0}
    assert reddish["icr"].to_dict() == {"unedited": 1.0, "half": 0.5, "swapped": 1.0, "gone": 0.0}
    assert set(table["unedited"]) == {1.0} and set(table["n"]) == {10} and set(table["prompts"]) == {5}
    found = np.tile([True, False], 5)
    assert (colour.loc["half", "low"], colour.loc["half", "high"]) == clustered_wilson(found, np.repeat(range(5), 2))
    assert "distance" not in table


def test_beside_it_stands_the_distance_to_clean_pictures_and_their_product(run):
    clean = np.stack([picture("nothing", seed) for seed in range(8)])
    table = implicit_ratios(run, [Reddish(), ColourJudge()], clean=clean).set_index(["condition", "judge"])
    seen = np.stack([picture("orange", seed) for _ in range(5) for seed in (1, 2)])
    features = [ColourJudge().score(one, []).features for one in (clean, seen)]
    row = table.loc["swapped", "reddish"]
    assert row["distance"] == pytest.approx(FID().value(*features)) == row["product"]
    assert table.loc["gone", "reddish"]["distance"] < 0.05 * row["distance"]
    assert table.loc["swapped", ColourJudge().name]["product"] == 0


def test_what_cannot_be_counted_is_refused(run, tmp_path):
    with pytest.raises(WorkbenchError, match="None of the judges has features"):
        implicit_ratios(run, [Reddish()], clean=np.stack([picture("nothing", 0)] * 2))
    blue = Reddish()
    blue.concepts = {"blue": "colour"}
    with pytest.raises(WorkbenchError, match="Unknown concept of the judge reddish 'red'"):
        implicit_ratios(run, [blue])
    named = drawn_run(tmp_path / "named", {"same": lambda row: row.expected})
    with pytest.raises(WorkbenchError, match="No prompt of the run"):
        implicit_ratios(named, [Reddish()])
