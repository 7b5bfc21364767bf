from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.edits import WeightEdit, load_edit
from workbench.edits.weight import spectrum
from workbench.models.shifting import shifted

DENSE = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
BIAS = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.bias"


@pytest.fixture
def weights(tiny_sd1) -> WeightEdit:
    """All kinds of Δ at once: thin ones with a common right factor, one with its own, a whole one, a bias."""
    rng = torch.Generator().manual_seed(0)
    names = list(tiny_sd1.prompt_maps())
    tensors = {f"{name}:left": torch.randn(len(tiny_sd1.parameter(name)), 2, generator=rng) for name in names}
    tensors |= {":right": torch.randn(2, 16, generator=rng), f"{names[0]}:right": torch.randn(2, 16, generator=rng)}
    tensors |= {f"{name}:delta": torch.randn(tiny_sd1.parameter(name).shape, generator=rng) for name in (DENSE, BIAS)}
    return WeightEdit(
        tensors=tensors, settings={"damping": 0.5}, method="uce", concepts=["fox"],
        base_fingerprint=tiny_sd1.fingerprint,
    )  # fmt: skip


def images(model, *edits):
    with model.edited(*edits):
        return model.generate(["a fox", "a cat"], range(2), steps=2)


def test_every_parameter_gets_its_delta_and_then_its_own_memory_back(tiny_sd1, weights):
    before = {name: (p.data_ptr(), p.detach().clone()) for name, p in named(tiny_sd1, weights).items()}
    with tiny_sd1.edited(weights):
        for name, parameter in named(tiny_sd1, weights).items():
            assert_close(parameter.detach(), before[name][1] + weights.delta(name))
    for name, parameter in named(tiny_sd1, weights).items():
        assert parameter.data_ptr() == before[name][0] and torch.equal(parameter, before[name][1])


def named(model, edit):
    return {name: model.parameter(name) for name in edit.names}


def test_factors_multiply_to_the_delta(weights):
    first, second, *_ = [name for name in weights.names if ".attn2." in name]
    own = {name: weights.tensors.get(f"{name}:right", weights.tensors[":right"]) for name in (first, second)}
    for name, right in own.items():
        assert torch.equal(weights.delta(name), weights.tensors[f"{name}:left"] @ right)


def test_the_order_of_weight_edits_does_not_matter_and_minus_one_takes_an_edit_back(tiny_sd1, weights):
    other = weights.random(seed=5)
    np.testing.assert_allclose(images(tiny_sd1, weights, other), images(tiny_sd1, other, weights), atol=1)
    np.testing.assert_allclose(images(tiny_sd1, weights, weights.scaled(-1.0)), images(tiny_sd1), atol=1)
    assert not np.array_equal(images(tiny_sd1, weights), images(tiny_sd1))


def test_scaling_twice_is_scaling_by_the_product_and_told_as_such(weights):
    twice = weights.scaled(2.0).scaled(-1.5)
    assert twice.settings == {"damping": 0.5, "scaled": -3.0}
    for name in weights.names:
        assert_close(twice.delta(name), -3 * weights.delta(name))


def test_a_body_that_raises_leaves_the_model_as_it_was(tiny_sd1, weights):
    plain = images(tiny_sd1)
    with pytest.raises(KeyboardInterrupt), tiny_sd1.edited(weights):
        raise KeyboardInterrupt
    assert not tiny_sd1.is_edited and np.array_equal(images(tiny_sd1), plain)


def test_the_sum_is_rounded_once():
    weight, delta = torch.nn.Parameter(torch.ones(1, dtype=torch.float16)), torch.tensor([2.0**-11 + 2.0**-20])
    with shifted({"w": weight}, {"w": delta}):
        assert weight.item() == 1 + 2.0**-10, "a delta cast to float16 first would have vanished"


def test_it_survives_the_disk(tiny_sd1, weights, tmp_path):
    weights.save(tmp_path / "edit")
    loaded = load_edit(tmp_path / "edit")
    assert loaded.names == weights.names and np.array_equal(images(tiny_sd1, loaded), images(tiny_sd1, weights))


def test_other_models_and_other_shapes_are_refused(tiny_sd1, tiny_sd2, weights):
    with pytest.raises(WorkbenchError, match="fitted on another model"):
        weights.check(tiny_sd2)
    wide = replace(weights, tensors={f"{DENSE}:delta": torch.zeros(3, 4)})
    with pytest.raises(WorkbenchError, match=r"\(3, 4\)"), tiny_sd1.edited(wide):
        pass


def test_the_spectrum_is_that_of_the_whole_delta(weights):
    for name in [*(n for n in weights.names if ".attn2." in n), DENSE]:
        whole = torch.linalg.svdvals(weights.delta(name).double())
        found = spectrum(weights, name)
        assert_close(found, whole[: len(found)], rtol=1e-4, atol=1e-5)


def test_a_no_op_changes_nothing(tiny_sd1, weights):
    assert np.array_equal(images(tiny_sd1, weights.no_op()), images(tiny_sd1))


def test_random_directions_have_the_same_singular_values_and_are_others(weights):
    turned = weights.random(seed=1)
    for name in weights.names:
        assert_close(turned.delta(name).norm(), weights.delta(name).norm(), rtol=1e-5, atol=0)
        assert not torch.allclose(turned.delta(name), weights.delta(name))
    assert_close(spectrum(turned, DENSE), spectrum(weights, DENSE), rtol=1e-4, atol=1e-6)
    again, third = weights.random(seed=1), weights.random(seed=2)
    assert torch.equal(again.delta(DENSE), turned.delta(DENSE)) and not torch.equal(
        third.delta(DENSE), turned.delta(DENSE)
    )


def test_an_edit_is_not_made_of_a_file(weights, tmp_path):
    weights.save(tmp_path / "edit")
    with pytest.raises(WorkbenchError, match="is a file, and an edit is a folder"):
        load_edit(tmp_path / "edit" / "edit.json")
