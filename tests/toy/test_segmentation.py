"""Words of the toy attend to what they name: exact masks, regions of equal size, and controls."""

import numpy as np
import pandas as pd
import pytest

from saes.errors import WorkbenchError
from workbench.toy.segmentation import SCORES, captioned_scenes, iou, segmentation, summary

MASK = np.zeros((4, 4), bool)
MASK[:2, :2] = True


def test_the_region_is_as_large_as_the_mask():
    ramp = np.arange(16.0).reshape(4, 4)
    assert iou(-ramp, MASK) == 2 / 6  # the first four pixels in row order: two of them in the mask
    assert iou(ramp, MASK) == 0
    assert iou(np.ones((4, 4)), MASK) == 2 / 6, "a map that says nothing is no perfect map"
    assert iou(MASK.astype(float), MASK) == 1


def test_scenes_have_different_objects_and_captions_that_name_them():
    scenes = captioned_scenes(30, seed=1)
    assert [len(each.scene.objects) for each in scenes] == [1] * 30 + [2] * 30
    for scene, caption in scenes:
        assert all(f"{item.colour} {item.thing}" in caption for item in scene.objects)
        assert len({item.thing for item in scene.objects}) == len(scene.objects)


def test_intervals_are_over_pictures():
    same = pd.DataFrame({"picture": [0, 0, 1, 1], "objects": 2, "iou": [0.2, 0.2, 0.8, 0.8], "other_word": 0.1,
                         "other_picture": 0.3})  # fmt: skip
    found = summary(same).set_index(["objects", "score"]).loc[("2", "iou")]
    assert found["mean"] == pytest.approx(0.5)
    assert (found["low"], found["high"]) == pytest.approx((0.2, 0.8)), "two pictures, not four objects"


def test_words_attend_to_their_objects_and_controls_do_not():
    from workbench.models import load

    table = segmentation(load("toy", device="cpu"), 8, timesteps=(100.0, 500.0))
    found = summary(table).set_index(["objects", "score"])
    assert len(table) == 8 + 16
    assert found.loc[("all", "iou"), "low"] > 0.5
    assert found.loc[("all", "other_word"), "high"] < 0.1
    assert found.loc[("2", "advantage"), "low"] > 0.4
    assert found.loc[("all", "iou"), "mean"] > found.loc[("all", "other_picture"), "mean"]


def test_a_janus_is_asked_about_its_cells_by_attention_and_by_what_they_would_lose():
    from workbench.models import load

    janus = load("toy-janus", device="cpu")
    tables = {how: segmentation(janus, 2, how=how) for how in ("attention", "likelihood")}
    for table in tables.values():
        assert len(table) == 2 + 4 and table[list(SCORES)].apply(lambda one: one.between(0, 1)).all(axis=None)
    assert not np.allclose(tables["attention"]["iou"], tables["likelihood"]["iou"])
    with pytest.raises(WorkbenchError, match="looks at no timesteps"):
        segmentation(janus, 1, timesteps=(100.0,))


def test_what_a_model_has_not_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="no likelihood of a picture's cells"):
        segmentation(tiny_sd1, 1, how="likelihood")
    with pytest.raises(WorkbenchError, match="Unknown way to map words 'atention'"):
        segmentation(tiny_sd1, 1, how="atention")
