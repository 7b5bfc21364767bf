"""Scaling features by hand on a two-feature dictionary."""

import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from workbench.edits.programs import identity, scale_features
from workbench.hooks import Clock

# Two orthogonal features, k = 2: the code of (a, b) is (a, b) where positive.
PLANE = Dictionary("topk", torch.eye(3)[:, :2], torch.zeros(2), torch.eye(3)[:2], torch.zeros(3), torch.zeros(3), 2)
X = torch.tensor([[[2.0, 3.0, 5.0], [1.0, 4.0, 7.0], [-1.0, 2.0, 9.0]]]).repeat(2, 1, 1)
TENSORS = {**PLANE.tensors, "features": torch.tensor([0])}


def scaled(clock: Clock, strength: float) -> torch.Tensor:
    return scale_features(X, clock, TENSORS, {**PLANE.settings, "strength": strength})


def test_only_the_chosen_feature_is_scaled_and_the_rest_of_x_stays():
    out = scaled(Clock("denoiser", 0, 1.0, ("cond", "cond")), -2.0)
    expected = torch.tensor([[-4.0, 3.0, 5.0], [-2.0, 4.0, 7.0], [-1.0, 2.0, 9.0]])  # −1 does not fire
    assert_close(out, expected.repeat(2, 1, 1))


def test_unconditional_rows_and_the_begin_token_are_left_alone():
    out = scaled(Clock("text", 0, None, ("uncond", "cond"), torch.zeros(2, 3, dtype=torch.int64)), 0.0)
    assert torch.equal(out[0], X[0])
    assert_close(out[1], torch.tensor([[2.0, 3.0, 5.0], [0.0, 4.0, 7.0], [-1.0, 2.0, 9.0]]))
    assert scaled(Clock("denoiser", 0, 1.0, ("uncond", "uncond")), 0.0) is X


def test_identity_returns_the_very_activation():
    assert identity(X, Clock("denoiser", 0, 1.0, ("cond", "cond")), {}, {}) is X
