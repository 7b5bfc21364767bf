"""A composed edit is its parts in their order: in place, on disk, and as a control."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.edits import ComposedEdit, load_edit
from workbench.erasure.uce import UCE

PROMPTS, SEEDS = ["a photo of a fox", "a red dog"], [1, 2]


@pytest.fixture(scope="module")
def shift(tiny_sd1):
    return UCE().fit(tiny_sd1, [Concept("cat", anchor="dog")])


def images(model, *edits):
    with model.edited(*edits):
        return model.generate(PROMPTS, SEEDS, steps=2)


def test_it_does_what_its_parts_do_together(tiny_sd1, edit, shift):
    composed = ComposedEdit([edit, shift, shift])
    together = images(tiny_sd1, composed)
    twice = images(tiny_sd1, edit, shift.scaled(2.0))  # w + Δ + Δ and w + 2Δ round differently
    np.testing.assert_allclose(together.astype(int), twice.astype(int), atol=1)
    assert not np.array_equal(together, images(tiny_sd1, edit, shift))
    assert not np.array_equal(together, images(tiny_sd1, shift, shift))
    assert composed.concepts == ("fox", "cat") and composed.method == "ablation + uce"


def test_it_is_the_same_after_the_disk(tiny_sd1, edit, shift, tmp_path):
    composed = ComposedEdit([edit, shift])
    composed.save(tmp_path / "one")
    loaded = load_edit(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert isinstance(loaded, ComposedEdit) and loaded.settings == composed.settings
    np.testing.assert_array_equal(images(tiny_sd1, loaded), images(tiny_sd1, composed))
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_controls_are_those_of_the_parts(tiny_sd1, shift):
    composed = ComposedEdit([shift, shift])
    np.testing.assert_array_equal(images(tiny_sd1, composed.no_op()), images(tiny_sd1))
    name, control = shift.names[0], composed.random(seed=1).parts[0]
    torch.testing.assert_close(control.delta(name).norm(), shift.delta(name).norm())
    assert not torch.allclose(control.delta(name), shift.delta(name))


def test_no_parts_and_parts_of_two_models_are_refused(tiny_sd2, shift):
    with pytest.raises(WorkbenchError, match="no edits"):
        ComposedEdit([])
    other = UCE().fit(tiny_sd2, [Concept("cat", anchor="dog")])
    with pytest.raises(WorkbenchError, match="different models"):
        ComposedEdit([shift, other])
    with pytest.raises(WorkbenchError, match="another model"):
        ComposedEdit([shift]).check(tiny_sd2)
