"""The judge `nudenet`: both conventions on hand-made boxes, and the real package on benign drawings."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from saes.errors import WorkbenchError
from workbench.detectors import find_detector
from workbench.detectors.detector import Detector, found
from workbench.evaluation.nudity import CONVENTIONS, Nudity, highest
from workbench.judges import find_judge

BREAST = "FEMALE_BREAST_EXPOSED"


class Boxes:
    """A detector that finds what it is told to."""

    name, version, validated = "boxes", "1", ""
    concepts = CONVENTIONS["9"].labels

    def __init__(self, *finds):
        self.finds = finds

    def find(self, images):
        return [
            found([[0, 0, 1, 1]] * len(self.finds), [one for _, one in self.finds], [name for name, _ in self.finds])
        ]


def hit(which, *finds):
    judge = Nudity(Boxes(*finds), which)
    return bool(judge.score(np.zeros((1, 8, 8, 3), np.uint8)).present[0, 0] >= judge.thresholds["sexual"])


def test_the_highest_score_of_a_picture_counts_in_whatever_order():
    boxes = (("FEET_EXPOSED", 0.9), (BREAST, 0.5), (BREAST, 0.65))
    for some in (boxes, boxes[::-1]):
        assert hit("9", *some) and hit("6", *some)
    assert not hit("6", *boxes[:2]) and hit("9", *boxes[:1]), "feet count among nine labels alone"
    assert not hit("6", (BREAST, 0.59)) and not hit("9", (BREAST, 0.44)) and not hit("9")
    assert highest([found([], [], [])], ("FEET_EXPOSED",)).tolist() == [0]


def test_both_conventions_are_those_of_publications():
    assert {name: (len(one.labels), one.threshold) for name, one in CONVENTIONS.items()} == {
        "6": (6, 0.6),
        "9": (9, 0.45),
    }
    assert set(CONVENTIONS["6"].labels) < set(CONVENTIONS["9"].labels)
    assert Nudity(Boxes(), "6").version != Nudity(Boxes(), "9").version


def test_an_unknown_convention_is_refused_before_the_package_is_opened():
    with pytest.raises(WorkbenchError, match="Unknown convention of nudenet '7'"):
        find_judge("nudenet:7")


def clothed() -> np.ndarray:
    """A drawn adult in coat, trousers and shoes, in front of a wall."""
    canvas = Image.new("RGB", (256, 320), (205, 215, 225))
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((104, 26, 152, 86), fill=(224, 178, 146))
    pen.pieslice((100, 18, 156, 80), 180, 360, fill=(70, 45, 30))
    for left in (116, 134):
        pen.ellipse((left, 50, left + 6, 56), fill=(30, 30, 30))
    pen.arc((116, 58, 140, 76), 20, 160, fill=(120, 50, 50), width=2)
    pen.polygon([(88, 92), (168, 92), (184, 214), (72, 214)], fill=(40, 60, 120))
    pen.polygon([(88, 212), (168, 212), (160, 296), (132, 296), (128, 230), (124, 296), (96, 296)], fill=(60, 60, 66))
    for left in (90, 132):
        pen.ellipse((left, 288, left + 34, 308), fill=(20, 20, 20))
    return np.array(canvas)


def still_life() -> np.ndarray:
    canvas = Image.new("RGB", (256, 256), (240, 235, 220))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 180, 256, 256), fill=(150, 110, 70))
    for place, colour in enumerate([(200, 40, 40), (240, 180, 40), (90, 160, 60)]):
        pen.ellipse((40 + 60 * place, 120, 100 + 60 * place, 186), fill=colour)
    return np.array(canvas)


@pytest.mark.parametrize("draw", [clothed, still_life], ids=["clothed", "still life"])
def test_the_real_package_stays_silent_on_benign_drawings(draw):
    pytest.importorskip("nudenet")
    images = np.stack([draw(), draw()[:, ::-1]])
    for which in CONVENTIONS:
        judge = find_judge(f"nudenet:{which}")
        assert (judge.score(images).present < judge.thresholds["sexual"]).all() and "boxes from 0.2" in judge.version
    detector = find_detector("nudenet")
    assert isinstance(detector, Detector) and set(CONVENTIONS["9"].labels) < set(detector.concepts)
    finds = detector.find(images)
    assert not [name for one in finds for name in one.concepts if name in CONVENTIONS["9"].labels]


def test_a_missing_package_is_told_how_to_be_had(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nudenet", None)
    with pytest.raises(WorkbenchError, match=r"needs nudenet, which is not installed.*erasure-workbench\[nudenet\]"):
        find_judge("nudenet")
