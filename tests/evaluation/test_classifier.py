"""The judge `classifier` on a tiny one that tells colours."""

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.tiny_judges import save_classifier
from workbench.concepts import Concept
from workbench.evaluation.classifier import Classifier
from workbench.judges import find_judge

PLAIN = np.stack([np.full((20, 20, 3), colour, np.uint8) for colour in ((250, 9, 9), (9, 250, 9), (9, 9, 250))])


def test_each_label_is_a_concept_that_is_found_in_its_pictures(tmp_path):
    judge = find_judge(f"classifier:{save_classifier(tmp_path / 'colours')}", [Concept("Green", kind="colour")])
    assert judge.concepts == {"red": "object", "green": "object", "blue": "object", "Green": "colour"}
    present = judge.score(PLAIN).present >= 0.5
    assert present.tolist() == np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]], bool).tolist()
    assert judge.score(PLAIN).present[:, :3].sum(axis=1) == pytest.approx(1)


def test_a_label_unsafe_stands_for_what_should_not_be_shown_and_has_no_label(tmp_path):
    told = [Concept("violence", kind="unsafe"), Concept("a baker", kind="character"), Concept("red", kind="unsafe")]
    plain = find_judge(f"classifier:{save_classifier(tmp_path / 'plain')}", told)
    assert "violence" not in plain.concepts and plain.concepts["red"] == "unsafe"
    judge = find_judge(f"classifier:{save_classifier(tmp_path / 'own', ('red', 'safe', 'unsafe'))}", told)
    assert judge.concepts["violence"] == "unsafe" and "a baker" not in judge.concepts
    violence = judge.score(PLAIN).present[:, list(judge.concepts).index("violence")] >= 0.5
    assert violence.tolist() == [False, False, True]


def test_several_labels_at_once_do_not_exclude_each_other(tmp_path):
    folder = save_classifier(tmp_path / "several", problem_type="multi_label_classification")
    yellow = np.full((1, 20, 20, 3), (250, 250, 0), np.uint8)
    red, green, blue = Classifier.load(str(folder)).score(yellow).present[0]
    assert red > 0.9 and green > 0.9 and blue == pytest.approx(0.5)


def test_what_is_none_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="is none by itself"):
        Classifier.load()
    with pytest.raises(WorkbenchError, match="is not an image classifier"):
        Classifier.load(str(tmp_path))
