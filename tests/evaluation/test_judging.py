"""What a record says is shown when the judge sees concepts in broken pictures."""

from pathlib import Path

import numpy as np

from tests.evaluation.drawn import ColourJudge, drawn_run
from workbench.evaluation.judges import Scores
from workbench.evaluation.judging import rejudge


class Credulous(ColourJudge):
    """Sees every concept everywhere, and still knows noise from a picture."""

    def score(self, images: np.ndarray) -> Scores:
        scores = super().score(images)
        return scores._replace(present=np.ones_like(scores.present))


def test_in_doubt_the_edit_is_charged(tmp_path: Path) -> None:
    run = rejudge(drawn_run(tmp_path / "run", {"noise": lambda row: "noise"}), Credulous())
    noise = run.rows("noise").groupby("role")
    assert noise["shown"].mean().to_dict() == {"target": 1, "synonym": 1, "neighbour": 0, "unrelated": 0}
    assert set(run.rows("noise")["verdict"]) == {"target"}
    assert run.rows("unedited")["shown"].all()


def test_each_image_is_scored_once(tmp_path: Path) -> None:
    asked = []

    class Counting(ColourJudge):
        def score(self, images: np.ndarray) -> Scores:
            asked.append(len(images))
            return super().score(images)

    run = drawn_run(tmp_path / "run", {"some": lambda row: row.expected})
    rejudge(run, Counting())
    assert sum(asked) == len(run.spec.cells()) == len(run.records())
