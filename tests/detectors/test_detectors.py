"""The detectors `text` and `code` on real letters and real codes, and on pictures without."""

import sys

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.detectors.drawn import benign, coded, iou, lettered
from workbench.detectors import DETECTORS, detectors, find_detector
from workbench.detectors.code import UNREAD, Code
from workbench.detectors.detector import THRESHOLD, Detector, around
from workbench.detectors.text import Text
from workbench.evaluation.judges import Judge
from workbench.judges import find_judge


@pytest.fixture(scope="module")
def text():
    return Text()


def sure(finds):
    return [box.tolist() for box, score in zip(finds.boxes, finds.scores, strict=True) if score >= THRESHOLD]


def test_a_line_of_letters_is_found_where_it_is(text):
    picture, box = lettered(benign(1)[0], "GRAND OPENING", (60, 300))
    (found,) = sure(text.find(picture[None])[0])
    assert iou(found, box) > 0.6


def test_a_picture_without_letters_has_no_text(text):
    assert not sure(text.find(benign(1)[0][None])[0])


def test_a_code_is_found_where_it_is_whether_it_can_be_read_or_not():
    for damaged, score in ((False, 1.0), (True, UNREAD)):
        picture, box = coded(benign(1)[0], "https://example.org/a", (40, 120), damaged=damaged)
        (finds,) = Code().find(picture[None])
        assert len(finds.boxes) == 1 and finds.scores.tolist() == [score] and finds.concepts == ("code",)
        assert iou(finds.boxes[0], box) > 0.9


def test_two_codes_are_two_finds():
    picture, first = coded(benign(1)[0], "first", (10, 10), scale=4)
    picture, second = coded(picture, "second", (200, 200), scale=4)
    boxes = Code().find(picture[None])[0].boxes
    assert len(boxes) == 2
    assert all(max(iou(box, other) for other in (first, second)) > 0.9 for box in boxes)


def test_pictures_without_codes_have_none():
    pictures = benign(6)
    noise = np.random.default_rng(0).integers(0, 256, pictures[0].shape).astype(np.uint8)
    assert not any(len(finds.boxes) for finds in Code().find(np.stack([*pictures, noise])))


@pytest.mark.slow
def test_both_detectors_find_what_is_there_and_nothing_else(text):
    plain = benign(12, seed=4)
    rng, words = np.random.default_rng(0), ("SALE TODAY", "stock photo", "Chapter 12", "NEWS")
    letters = [lettered(p, words[i % 4], tuple(rng.integers(10, 180, 2)), 24) for i, p in enumerate(plain)]
    codes = [coded(p, f"number {i}", tuple(rng.integers(10, 230, 2)), scale=3, damaged=i % 2 == 1)
             for i, p in enumerate(plain)]  # fmt: skip
    for detector, marked in ((text, letters), (Code(), codes)):
        others = codes if detector is text else letters
        hits = [any(iou(found, box) > 0.4 for found in sure(detector.find(p[None])[0])) for p, box in marked]
        alarms = [bool(sure(detector.find(p[None])[0])) for p in (*plain, *(p for p, _ in others))]
        assert np.mean(hits) >= 0.9, detector.name
        assert np.mean(alarms) <= 0.1, detector.name


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "nudenet"])  # its judge knows another concept
def test_every_name_leads_to_a_detector_and_to_its_judge(name):
    detector = find_detector(name)
    assert isinstance(detector, Detector) and detector.version and detector.validated
    judge = find_judge({"toy": "toy-marks"}.get(name, name))
    assert isinstance(judge, Judge) and set(judge.concepts) == set(detector.concepts) == set(judge.thresholds)


def test_a_judge_has_the_surest_find_and_may_call_it_by_another_name():
    plain = benign(1)[0]
    picture, _ = coded(plain, "a", (40, 120), damaged=True)
    judge = find_judge("code:barcode")
    scores = judge.score(np.stack([plain, picture]), ["", ""])
    assert judge.concepts == {"barcode": "implicit"} and judge.name == "code as barcode"
    assert scores.present.tolist() == [[0.0], [UNREAD]] and scores.intact is None and scores.features is None


def test_what_cannot_detect_is_refused(monkeypatch):
    assert set(detectors()) >= set(DETECTORS)
    with pytest.raises(WorkbenchError, match=r"Unknown detector 'cod'\. Did you mean 'code'"):
        find_detector("cod")
    with pytest.raises(WorkbenchError, match="cannot be imported"):
        find_detector("tests.detectors.drawn:Nothing")
    with pytest.raises(WorkbenchError, match="is no detector"):
        find_detector("builtins:dict")
    with pytest.raises(WorkbenchError, match="finds watermark, barcode, headline, not one thing"):
        find_judge("toy-marks:watermark")
    for name, package in (("text", "rapidocr"), ("code", "cv2")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(WorkbenchError, match=rf"needs {package}.*pip install 'erasure-workbench\[{name}\]'"):
            find_detector(name)


def test_a_box_is_cut_at_the_borders_and_holds_all_corners():
    corners = np.array([[-3.0, 4.2], [10.5, 2.7], [400.0, 8.0]])
    assert around(corners, 100, 200) == [0, 2, 199, 8]
