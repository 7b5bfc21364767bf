"""Controls are matched: as many features, about as dense, none of the edit's own."""

from dataclasses import replace

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.edits.controls import matched_features


def density(n: int = 400) -> torch.Tensor:
    """Densities over four orders of magnitude, the last tenth dead."""
    spread = torch.logspace(-4, -0.5, n)[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    return torch.where(torch.arange(n) < n * 0.9, spread, 0.0)


def test_as_many_other_living_features_of_about_the_same_density():
    own = torch.arange(0, 300, 15)
    drawn = matched_features(own, density(), seed=0)
    assert len(set(drawn.tolist())) == len(own)
    assert not set(drawn.tolist()) & set(own.tolist())
    assert (density()[drawn] > 0).all()
    ratio = density()[drawn].sort().values / density()[own].sort().values
    assert ratio.min() > 0.7 and ratio.max() < 1.4
    unmatched = torch.tensor([f for f in range(360) if f not in own])[: len(own)]
    worst = density()[unmatched].sort().values / density()[own].sort().values
    assert worst.max() > 1.4 or worst.min() < 0.7  # any other features would not do


def test_each_stand_in_is_about_as_dense_as_the_feature_in_its_place():
    own = torch.arange(0, 300, 15)
    ratio = density()[matched_features(own, density(), seed=0)] / density()[own]
    assert ratio.min() > 0.7 and ratio.max() < 1.4


def test_the_seed_decides_and_other_seeds_draw_others():
    own = torch.arange(0, 300, 15)
    assert torch.equal(matched_features(own, density(), 3), matched_features(own, density(), 3))
    assert not torch.equal(matched_features(own, density(), 3), matched_features(own, density(), 4))


def test_features_of_equal_density_are_drawn_at_random_among_all():
    drawn = {int(matched_features(torch.tensor([0]), torch.ones(200), seed)[0]) for seed in range(40)}
    assert len(drawn) > 20 and max(drawn) > 150


def test_too_few_living_features_are_named():
    with pytest.raises(WorkbenchError, match="Only 1 other features"):
        matched_features(torch.tensor([0, 1]), torch.tensor([0.1, 0.1, 0.1, 0.0, 0.0]), seed=0)


def test_the_control_keeps_everything_but_the_features_and_gates_as_before(edit):
    own = edit.tensors["features"]
    edit = replace(edit, tensors={**edit.tensors, "density": torch.ones(96)})
    control = edit.random(seed=5)
    assert len(control.tensors["features"]) == len(own)
    assert torch.equal(control.tensors["gate_features"], own)
    assert control.seed == 5 and control.settings == edit.settings and control.program == edit.program
    twice = control.random(seed=6)
    assert torch.equal(twice.tensors["gate_features"], own)


def test_an_edit_that_cannot_be_matched_says_why(edit):
    with pytest.raises(WorkbenchError, match="how often"):
        edit.random()
    with pytest.raises(WorkbenchError, match="no features"):
        edit.no_op().random()
