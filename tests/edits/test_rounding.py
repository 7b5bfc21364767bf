"""What half precision does to an edit, by grids that are known, and on a model."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from workbench.edits import WeightEdit
from workbench.edits.rounding import rounding
from workbench.models import load


@pytest.mark.parametrize(("dtype", "step"), [(torch.float16, 2.0**-10), (torch.bfloat16, 2.0**-7)])
def test_equation_1_on_a_grid_that_is_known(dtype, step):
    """Between 1 and 2 numbers are a step apart: a quarter of it is lost whole, four are not, and three become four."""
    weight = torch.full((3,), 1.25, dtype=dtype)

    def lost(quarters, finer=torch.float64):
        return rounding({"w": weight}, {"w": torch.tensor(quarters, dtype=finer) * step / 4})

    assert lost([1.0, 1.0, 1.0]) == 1 and lost([4.0, -4.0, 0.0]) == 0 and lost([0.0, 0.0, 0.0]) == 0
    assert lost([3.0, 3.0, -3.0]) == pytest.approx(1 / 3)
    for finer in (torch.float64, torch.float32):
        assert lost([1.0, 3.0, 4.0], finer) == pytest.approx((2 / 26) ** 0.5)
    assert rounding({"w": weight.double()}, {"w": torch.full((3,), step / 4, dtype=torch.float64)}) == 0


def edit_of(model, size):
    name = "text_encoder.encoder.layers.0.mlp.fc1.weight"
    delta = size * torch.randn(model.parameter(name).shape, generator=torch.Generator().manual_seed(0))
    return WeightEdit(tensors={f"{name}:delta": delta}, settings={}, method="few_shot", concepts=["fox"],
                      base_fingerprint=model.fingerprint)  # fmt: skip


def installed(model, edit):
    """The share of Δ that is not in place, and what is said of it."""
    (name,) = edit.names
    before = model.parameter(name).detach().double()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with model.edited(edit):
            change = model.parameter(name).detach().double() - before
    delta = edit.delta(name).double()
    return float((change - delta).norm() / delta.norm()), [str(one.message) for one in said]


def test_a_small_edit_on_a_model_in_half_precision_says_how_much_of_it_is_rounded_away(tiny_sd1):
    small, large = edit_of(tiny_sd1, 3e-5), edit_of(tiny_sd1, 0.1)
    half = load(tiny_sd1.name, device="cpu", dtype=torch.bfloat16)
    missed, (said,) = installed(half, small)
    assert missed > 0.5 and f"by {missed:.0%} of its size" in said
    assert "few_shot edit of fox is rounded to bfloat16" in said and "float32" in said
    assert installed(half, large)[1] == [] == installed(tiny_sd1, small)[1]
    missed, _ = installed(tiny_sd1, small)
    assert missed < 1e-2 < installed(half, large)[0] * 10
    assert installed(half, replace(small, tensors={key: 0 * one for key, one in small.tensors.items()}))[1] == []


def test_the_share_is_that_of_all_weights_together():
    near, far = torch.full((4,), 1.0, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bfloat16)
    deltas = {"near": torch.full((4,), 2.0**-10), "far": torch.full((4,), 2.0**-10)}  # all is lost, and nothing
    assert_close(rounding({"near": near, "far": far}, deltas), 0.5**0.5)
