"""Verdicts: in doubt the edit is charged, and a judge that does not see the concept is refused."""

from collections.abc import Sequence

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.evaluation.judges import Judge, Scores, check_floor, check_knows, shown, verdicts


class Fixed:
    """A judge of five concepts of two kinds; the tests write its scores by hand."""

    name, version, validated = "fixed", "1", "by hand"
    concepts = {"fox": "object", "cat": "object", "church": "object", "etching": "style", "stamp": "implicit"}  # noqa: RUF012

    thresholds = dict.fromkeys(concepts, 0.5)

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        return scores(*([[]] * len(images)))


def scores(*present: list[str], broken: tuple[int, ...] = ()) -> Scores:
    """Scores of 0.5 for the concepts present in each image, 0.49 for the rest."""
    names = list(Fixed.concepts)
    table = np.array([[0.5 if name in some else 0.49 for name in names] for some in present], np.float32)
    return Scores(table, ~np.isin(np.arange(len(present)), broken), np.zeros((len(present), 1), np.float32))


def test_each_verdict_and_their_order() -> None:
    some = scores(["fox", "cat"], ["cat", "church"], ["church"], ["etching"], [], ["cat"], ["fox"], broken=(5, 6))
    assert isinstance(Fixed(), Judge)
    assert verdicts(some, Fixed(), "fox", "cat") == [
        "target", "anchor", "other", "nothing", "nothing", "broken", "target"
    ]  # fmt: skip


def test_without_an_anchor_its_concept_is_another() -> None:
    assert verdicts(scores(["cat"], ["etching"]), Fixed(), "fox") == ["other", "nothing"]
    assert verdicts(scores(["cat"], ["etching"]), Fixed(), "etching") == ["nothing", "target"]


def test_in_a_broken_picture_only_the_target_is_shown() -> None:
    some = scores(["fox"], ["fox"], [], broken=(1,))
    assert shown(some, Fixed(), "fox", intact_only=False).tolist() == [True, True, False]
    assert shown(some, Fixed(), "fox", intact_only=True).tolist() == [True, False, False]
    assert shown(some, Fixed(), "", intact_only=True).tolist() == [False, False, False]


def test_concepts_that_the_judge_does_not_know_are_refused() -> None:
    check_knows(Fixed(), ["fox", ""])
    with pytest.raises(WorkbenchError, match=r"judge fixed 'fxo'\. Did you mean 'fox'"):
        check_knows(Fixed(), ["fxo"])
    with pytest.raises(WorkbenchError, match="'churhc'"):
        shown(scores([]), Fixed(), "churhc", intact_only=True)


def test_a_judge_below_the_floor_is_refused() -> None:
    flags = np.array([True] * 11 + [False] * 89)
    check_floor(Fixed(), flags, floor=0.11)
    with pytest.raises(WorkbenchError, match=r"11% of the unedited images, below the floor of 50%"):
        check_floor(Fixed(), flags, floor=0.5)
