"""Equation (1) of a study's conditions, against interventions and numbers made by hand."""

import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from workbench.edits.programs import change_features
from workbench.hooks import Clock, Step
from workbench.studies.parts import Part, move_part

CLOCK = Clock("image", 0, Step(0, None, 500.0), ("uncond", "cond", "cond"))
DOSE = {"dose": 1.0, "scale": 1.0}


def activations(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def dictionary(k=3):
    W = activations(7, 5)
    return Dictionary(
        "topk", W.mT.contiguous(), torch.zeros(7).double(), W, torch.ones(5).double(), torch.ones(5).double(), k
    )


def test_features_moved_to_0_are_ablated_features():
    x, part = activations(3, 4, 5), Part("site", dictionary(), torch.tensor([1, 4]))
    for dose in (0.5, 1.0, 2.0):
        got = move_part(x, CLOCK, part.tensors, {**part.settings, "dose": dose, "scale": 1.0})
        scaled = {**part.settings, "action": "scale", "strength": 1 - dose, "window": None}
        assert_close(got, change_features(x, CLOCK, part.tensors, scaled))
        assert not torch.equal(got, x)


def test_a_direction_moved_to_0_is_projected_out_and_nothing_else_is():
    x, u = activations(3, 4, 5), torch.nn.functional.normalize(activations(1, 5), dim=1)
    part = Part("site", basis=u)
    got = move_part(x, CLOCK, part.tensors, DOSE)
    expected = x - (x @ u[0])[..., None] * u[0]
    expected[0] = x[0]  # the unconditional row
    assert_close(got, expected)
    assert part.coordinates(x[1:]).abs().min() > 1e-3 and part.coordinates(got[1:]).abs().max() < 1e-12


def test_dose_and_scale_multiply_the_step():
    x, part = activations(3, 4, 5), Part("site", basis=torch.eye(5, dtype=torch.float64)[:2])
    whole = move_part(x, CLOCK, part.tensors, DOSE) - x
    half = move_part(x, CLOCK, part.tensors, {"dose": 0.25, "scale": 2.0}) - x
    assert_close(half, 0.5 * whole)
    assert_close(whole[1:, :, :2], -x[1:, :, :2]) and not whole[1:, :, 2:].any()


def test_a_prompt_is_patched_with_its_own_target_and_an_unknown_one_stays():
    x, to = activations(3, 4, 5), activations(2, 4, 5) + 3
    ids = torch.tensor([[9, 1, 2, 0], [9, 3, 4, 0], [9, 8, 8, 0]])
    clock = Clock("prompt", 0, None, ("cond",) * 3, token_ids=ids)
    tensors = {"to": to, "keys": ids[[1, 0]]}
    got = move_part(x, clock, tensors, DOSE)
    assert_close(got[0, 1:], to[1, 1:])
    assert_close(got[1, 1:], to[0, 1:])
    assert_close(got[:, 0], x[:, 0])  # the begin token
    assert_close(got[2], x[2])


def test_a_timestep_has_a_target_for_all_its_pixels():
    x, to = activations(3, 4, 5), activations(2, 1, 5)
    tensors = {"to": to, "keys": torch.tensor([800.0, 500.0])}
    assert_close(move_part(x, CLOCK, tensors, DOSE)[1:], to[1].expand(2, 4, 5))
    elsewhere = Clock("image", 0, Step(0, None, 400.0), CLOCK.roles)
    assert_close(move_part(x, elsewhere, tensors, DOSE), x)


def test_unconditional_calls_are_left_as_they_are():
    x = activations(2, 4, 5)
    assert move_part(x, Clock("image", 0, Step(0, None, 500.0), ("uncond",) * 2), {}, DOSE) is x
