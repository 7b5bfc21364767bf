"""Layers that peft wraps act as their base and their adapters together; fused ones are refused."""

import numpy as np
import pytest
import torch
from peft import LoraConfig
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.edits.bake import bake, unbake
from workbench.erasure.esd import ESD
from workbench.erasure.uce import UCE
from workbench.models import load

FOX = Concept("fox", anchor="cat", templates=("a photo of a {}",))
LORA = LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
EXACT = UCE(tokens="last", damping=1e-6, preserve_scale=1e-9, templates=True)


@pytest.fixture
def folder(tmp_path):
    return save_tiny("sd1", tmp_path / "sd1")


@pytest.fixture
def wrapped(folder):
    model = load(folder, device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model.pipe.unet.add_adapter(LORA)
    return model


def left_over(model):
    """How far values of *fox* are from those that the layers gave for *cat* before the edit, relative."""
    edit, far = EXACT.fit(model, [FOX]), []
    rows = [model.encode(f"a photo of a {name}").embeddings[0, 5] for name in ("fox", "cat")]
    for name in edit.names:
        layer = model.module(name.removesuffix(".weight"))
        wanted = layer(rows[1])
        with model.edited(edit):
            far.append(float((layer(rows[0]) - wanted).norm() / wanted.norm()))
    return max(far)


def test_a_closed_form_edit_solves_for_what_the_wrapped_layer_does(wrapped):
    assert left_over(wrapped) < 0.01


def test_adapters_that_are_switched_off_or_scaled_count_as_such(wrapped):
    name, layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", None
    layer = wrapped.module(name)
    row = torch.randn(layer.base_layer.in_features)
    seen = []
    for change in (lambda: None, lambda: wrapped.pipe.unet.set_adapters(["default"], weights=[0.5]),
                   wrapped.pipe.unet.disable_adapters):  # fmt: skip
        change()
        weight = wrapped.prompt_maps()[f"{name}.weight"]
        assert_close(weight @ row, layer(row))
        seen.append(weight.detach().clone())
    assert not torch.allclose(seen[0], seen[1]) and not torch.allclose(seen[1], seen[2])


def test_wrapped_layers_are_neither_baked_nor_trained(wrapped, tmp_path):
    edit = UCE().fit(wrapped, [FOX])
    with pytest.raises(WorkbenchError, match=r"wrapped by an adapter, so unet cannot be baked\. Fuse it"):
        bake(wrapped, edit, tmp_path / "baked")
    with pytest.raises(WorkbenchError, match=r"cannot be trained"):
        ESD(steps=1).fit(wrapped, [FOX])
    assert not (tmp_path / "baked").exists()


def test_an_edit_of_a_fused_adapter_belongs_to_that_model_and_unbaking_promises_nothing(wrapped, folder, tmp_path):
    wrapped.pipe.unet.fuse_lora()
    wrapped.pipe.unet.unload_lora()
    before = wrapped.generate("a fox", [1])
    edit = UCE().fit(wrapped, [FOX])
    with pytest.raises(WorkbenchError, match="fitted on another model"):
        edit.check(load(folder, device="cpu"))
    bake(wrapped, edit, tmp_path / "baked")
    undone = unbake(load(tmp_path / "baked", device="cpu"), edit, tmp_path / "back")
    assert undone.bound is None and not undone.bit_equal
    again = load(tmp_path / "back", device="cpu").generate("a fox", [1])
    np.testing.assert_allclose(again.astype(int), before.astype(int), atol=1)


def test_fused_projections_are_refused(folder):
    model = load(folder, device="cpu")
    model.pipe.unet.fuse_qkv_projections()
    with pytest.raises(WorkbenchError, match="are fused, so they cannot be edited"):
        UCE().fit(model, [FOX])
