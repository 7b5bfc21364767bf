"""Scaling features by hand on a two-feature dictionary."""

import pytest
import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from workbench.edits.programs import change_features, identity
from workbench.hooks import Clock, Step

# Two orthogonal features, k = 2: the code of (a, b) is (a, b) where positive.
PLANE = Dictionary("topk", torch.eye(3)[:, :2], torch.zeros(2), torch.eye(3)[:2], torch.zeros(3), torch.zeros(3), 2)
X = torch.tensor([[[2.0, 3.0, 5.0], [1.0, 4.0, 7.0], [-1.0, 2.0, 9.0]]]).repeat(2, 1, 1)
TENSORS = {**PLANE.tensors, "features": torch.tensor([0])}


END = 9
WORDS = torch.tensor([[0, 1, END, END]])  # begin, one word, end, padding


def scaled(clock: Clock, strength: float) -> torch.Tensor:
    return change_features(
        X, clock, TENSORS, {**PLANE.settings, "action": "scale", "strength": strength, "window": None}
    )


def changed(x: torch.Tensor, clock: Clock, features=(0,), tensors=PLANE.tensors, **settings) -> torch.Tensor:
    told = {"architecture": "topk", "k": 2, "window": None, "end": END, **settings}
    return change_features(x, clock, {**tensors, "features": torch.tensor(features)}, told)


def picture(timestep: float = 500.0) -> Clock:
    return Clock("image", 0, Step(0, None, timestep), ("uncond", "cond"))


def test_only_the_chosen_feature_is_scaled_and_the_rest_of_x_stays():
    out = scaled(Clock("image", 0, Step(0, None, 1.0), ("cond", "cond")), -2.0)
    expected = torch.tensor([[-4.0, 3.0, 5.0], [-2.0, 4.0, 7.0], [-1.0, 2.0, 9.0]])  # −1 does not fire
    assert_close(out, expected.repeat(2, 1, 1))


def test_unconditional_rows_and_the_begin_token_are_left_alone():
    out = scaled(Clock("prompt", 0, None, ("uncond", "cond"), torch.zeros(2, 3, dtype=torch.int64)), 0.0)
    assert torch.equal(out[0], X[0])
    assert_close(out[1], torch.tensor([[2.0, 3.0, 5.0], [0.0, 4.0, 7.0], [-1.0, 2.0, 9.0]]))
    assert scaled(Clock("image", 0, Step(0, None, 1.0), ("uncond", "uncond")), 0.0) is X


def test_identity_returns_the_very_activation():
    assert identity(X, Clock("image", 0, Step(0, None, 1.0), ("cond", "cond")), {}, {}) is X


def test_clamp_sets_and_add_adds_at_every_position_of_a_picture_also_where_nothing_fires():
    clamped = changed(X, picture(), action="clamp", strength=6.0)
    assert_close(clamped[1], torch.tensor([[6.0, 3.0, 5.0], [6.0, 4.0, 7.0], [5.0, 2.0, 9.0]]))  # −1: z = 0, 6 more
    added = changed(X, picture(), features=(0, 1), action="add", strength=0.5)
    assert_close(added[1], X[1] + torch.tensor([0.5, 0.5, 0.0]))
    assert torch.equal(clamped[0], X[0]) and torch.equal(added[0], X[0])  # unconditional


@pytest.mark.parametrize("action", ["clamp", "add"])
def test_clamp_and_add_keep_to_the_words_of_a_prompt_and_its_end(action):
    x = torch.tensor([[[2.0, 3.0, 5.0]] * 4])
    out = changed(x, Clock("prompt", 0, None, ("cond",), WORDS), action=action, strength=1.0)
    new = {"clamp": 1.0, "add": 3.0}[action]
    assert out[0, :, 0].tolist() == [2.0, new, new, 2.0]
    assert torch.equal(out[..., 1:], x[..., 1:])


@pytest.mark.parametrize("action", ["scale", "clamp", "add"])
def test_equations_1_and_2_against_the_dense_code_in_float64(action):
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    W_enc, b_enc, W_dec, b = normal(5, 12), normal(12), normal(12, 5), normal(5)
    x, features, s = normal(2, 7, 5), [1, 4, 9], -1.7
    a = (x - b) @ W_enc + b_enc
    z = torch.where(a >= a.topk(4, dim=-1).values[..., -1:], a, 0).relu()
    new = z.clone()
    new[..., features] = {"scale": s * z, "clamp": torch.full_like(z, s), "add": z + s}[action][..., features]
    assert (z[..., features] > 0).any() and (z[..., features] == 0).any()
    tensors = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b, "b_in": b}
    out = changed(
        x, Clock("image", 0, Step(0, None, 1.0), ("cond", "cond")), features, tensors, k=4, action=action, strength=s
    )
    assert_close(out, x + (new @ W_dec + b) - (z @ W_dec + b), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("timestep", "acts"), [(801.0, False), (800.0, True), (300.0, True), (299.0, False)])
def test_the_window_is_one_of_timesteps_and_includes_its_ends(timestep, acts):
    out = changed(X, picture(timestep), action="scale", strength=0.0, window=[800.0, 300.0])
    assert (out is X) != acts
    assert bool((out[1, 0, 0] == 0).item()) == acts
