"""The tables of an edit against numbers made by hand."""

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.edits import ComposedEdit, WeightEdit


@pytest.fixture
def name(tiny_sd1):
    return next(iter(tiny_sd1.prompt_maps()))


def edit_of(model, tensors):
    return WeightEdit(tensors=tensors, settings={}, method="made", concepts=["fox"], base_fingerprint=model.fingerprint)


def test_rank_norm_and_singular_values_are_those_of_the_delta(tiny_sd1, name):
    out = len(tiny_sd1.parameter(name))
    left, right = torch.zeros(out, 3), torch.zeros(3, 16)
    left[0, 0], left[1, 1], right[0, 0], right[1, 1] = 3.0, 2.0, 1.0, -2.0  # Δ has 3 and −4 and nothing else
    (row,) = edit_of(tiny_sd1, {f"{name}:left": left, f"{name}:right": right}).rows(tiny_sd1)
    assert row["shape"] == [out, 16] and row["rank"] == 2
    assert row["norm"] == pytest.approx(5.0) and row["singular_values"] == pytest.approx([4.0, 3.0, 0.0])
    assert row["share"] == pytest.approx(5.0 / float(tiny_sd1.parameter(name).norm()))


def test_a_bias_has_rank_one_and_nothing_has_none(tiny_sd1):
    bias = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.bias"
    (row,) = edit_of(tiny_sd1, {f"{bias}:delta": torch.ones(16)}).rows()
    assert (row["rank"], row["norm"], row["share"]) == (1, pytest.approx(4.0), None)
    (row,) = edit_of(tiny_sd1, {f"{bias}:delta": torch.zeros(16)}).rows()
    assert (row["rank"], row["norm"]) == (0, 0.0)


def test_the_features_of_an_activation_edit_are_listed(edit):
    rows = edit.rows()
    assert [row["feature"] for row in rows] == edit.tensors["features"].tolist()
    assert {row["site"] for row in rows} == {edit.site}


def test_a_composed_edit_is_its_leaves(tiny_sd1, edit, name):
    other = edit_of(tiny_sd1, {f"{name}:delta": torch.ones_like(tiny_sd1.parameter(name))})
    whole = ComposedEdit([ComposedEdit([edit, other]), edit])
    assert whole.leaves() == (edit, other, edit) and edit.leaves() == (edit,)
    assert whole.rows() == [*edit.rows(), *other.rows(), *edit.rows()]


def test_another_model_is_refused(tiny_sd1, tiny_sd2, name):
    with pytest.raises(WorkbenchError, match="another model"):
        edit_of(tiny_sd1, {f"{name}:delta": torch.ones_like(tiny_sd1.parameter(name))}).rows(tiny_sd2)
