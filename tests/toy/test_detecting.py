"""The toy's own detector, on renders whose marks are known."""

from dataclasses import replace

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.detectors.drawn import iou
from workbench.detectors.detector import THRESHOLD
from workbench.toy.detecting import Marks, template
from workbench.toy.marks import DRAW_MARK
from workbench.toy.render import render
from workbench.toy.scenes import random_scene


def marked_scenes(n, seed):
    """As many pictures of each mark and of none, the boxes where marks change pixels, and which is where."""
    rng, images, boxes, names = np.random.default_rng(seed), [], [], []
    for name in ("", *DRAW_MARK):
        for _ in range(n):
            scene = replace(random_scene(rng), marks=())
            plain, image = render(scene).image, render(replace(scene, marks=(name,) if name else ())).image
            there = np.abs(image.astype(int) - plain).max(-1) > 20
            rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
            images.append(image)
            boxes.append([columns[0], rows[0], columns[-1], rows[-1]] if name else None)
            names.append(name)
    return np.stack(images), boxes, names


def test_every_mark_is_found_where_it_is_and_nothing_where_it_is_not():
    images, boxes, names = marked_scenes(12, 1)
    finds = Marks().find(images)
    found = np.array([dict(zip(one.concepts, one.scores >= THRESHOLD, strict=True))[m]
                      for one in finds for m in DRAW_MARK]).reshape(-1, 3)  # fmt: skip
    shown = np.array([[name == m for m in DRAW_MARK] for name in names])
    assert found[shown].mean() >= 0.97 and found[~shown].mean() <= 0.03
    places = [iou(one.boxes[one.concepts.index(name)], box)
              for one, box, name in zip(finds, boxes, names, strict=True) if name]  # fmt: skip
    assert np.mean(np.array(places) > 0.4) >= 0.95 and np.median(places) > 0.7


def test_boxes_lie_inside_the_picture_and_scores_between_0_and_1():
    for one in Marks().find(np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)):
        left, top, right, bottom = one.boxes.T
        assert (left >= 0).all() and (top >= 0).all() and (right < 48).all() and (bottom < 48).all()
        assert (left <= right).all() and (top <= bottom).all()
        assert ((one.scores >= 0) & (one.scores <= 1)).all() and one.concepts == tuple(DRAW_MARK)


def test_templates_do_not_depend_on_who_drew_before():
    first = template("barcode").directions.clone()
    np.random.default_rng().random()
    template.cache_clear()
    assert (template("barcode").directions == first).all()


def test_pictures_of_another_size_are_refused():
    with pytest.raises(WorkbenchError, match="64×32 pixels"):
        Marks().find(np.zeros((1, 32, 64, 3), np.uint8))
