"""A model's identity changes with everything that decides a picture, and with nothing else."""

import contextlib
import shutil

import pytest
import torch
from diffusers import DDIMScheduler
from peft import LoraConfig

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.models import load, provenance

FOX = Concept("fox", anchor="cat")
LORA = LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_k", "to_v"])


@pytest.fixture
def model(tmp_path):
    return load(save_tiny("sd1", tmp_path / "sd1"), device="cpu")


def weight(model):
    return model.pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight


def in_place(model):
    with torch.no_grad():
        weight(model).mul_(1.5)


def one_number(model):
    with torch.no_grad():
        weight(model)[1, 1] += 1


def behind_torchs_back(model):
    weight(model).data[3] = 0


def row_of_a_new_token(model):
    model.pipe.tokenizer.add_tokens(["<style>"])
    model.pipe.text_encoder.resize_token_embeddings(len(model.pipe.tokenizer))


def text_encoder(model):
    with torch.no_grad():
        for one in model.pipe.text_encoder.parameters():
            one.add_(0.1)


def adapter(model):
    model.pipe.unet.add_adapter(LORA)


def fused(model):
    model.pipe.unet.fuse_qkv_projections()


WEIGHTS = [in_place, one_number, behind_torchs_back, row_of_a_new_token, text_encoder, adapter, fused]


@pytest.mark.parametrize("change", WEIGHTS)
def test_changed_weights_are_other_weights(model, change):
    before, whole = model.fingerprint, model.identity
    assert model.fingerprint == before and model.identity == whole
    change(model)
    assert model.fingerprint != before and "weights" in model.identity.differences(whole)


def scheduler(model):
    model.pipe.scheduler = DDIMScheduler.from_config(model.pipe.scheduler.config)


def configuration(model):
    model.pipe.scheduler.register_to_config(beta_end=0.05)


def noise_schedule(model):
    model.pipe.scheduler.alphas_cumprod = model.pipe.scheduler.alphas_cumprod * 0.9


def size(model):
    model.defaults = model.defaults._replace(image_size=64)


def factor(model):
    model.pipe.vae.register_to_config(scaling_factor=0.5)


def patch_by_hand(model):
    model.pipe.unet.mid_block.register_forward_hook(lambda module, args, out: 0 * out)


PARTS = [
    (scheduler, "scheduler"),
    (configuration, "scheduler"),
    (noise_schedule, "scheduler"),
    (size, "image size"),
    (factor, "vae"),
    (patch_by_hand, "unet"),
]


@pytest.mark.parametrize(("change", "part"), PARTS)
def test_what_decides_pictures_and_is_no_weight_is_named(model, change, part):
    before = model.identity
    change(model)
    assert model.identity.differences(before) == [part] and model.identity.hash != before.hash
    assert model.fingerprint == before.fingerprint


def test_another_dtype_decides_pictures_but_an_edit_still_fits(tmp_path):
    folder = save_tiny("sd1", tmp_path / "sd1")
    full, half = load(folder, device="cpu"), load(folder, device="cpu", dtype=torch.bfloat16)
    assert full.fingerprint == half.fingerprint
    assert {"unet", "vae", "text_encoder"} <= set(half.identity.differences(full.identity))


def test_what_was_changed_back_is_the_same_again(model):
    before = model.identity
    kept = weight(model).detach().clone()
    in_place(model)
    with torch.no_grad():
        weight(model).copy_(kept)
    assert model.identity == before


def test_the_same_change_in_another_process_is_the_same_model(tmp_path):
    folder = save_tiny("sd1", tmp_path / "sd1")
    first, second = load(folder, device="cpu"), load(folder, device="cpu")
    assert first.identity == second.identity
    for model in (first, second):
        in_place(model)
    assert first.identity == second.identity


def test_adapters_count_by_their_strength(model):
    adapter(model)
    before = model.fingerprint
    model.pipe.unet.set_adapters(["default"], weights=[0.5])
    assert model.fingerprint != before
    model.pipe.unet.disable_adapters()
    assert model.fingerprint != before


def test_an_adapter_that_was_fused_leaves_another_model(model):
    before = model.fingerprint
    adapter(model)
    model.pipe.unet.fuse_lora()
    model.pipe.unet.unload_lora()
    assert model.fingerprint != before


def test_nothing_is_read_whole_while_nothing_changes(model, monkeypatch):
    before = model.identity
    of_small, large = provenance.tensor_digest, provenance.SMALL
    read = lambda one: pytest.fail("read") if one.numel() > large else of_small(one)  # noqa: E731
    monkeypatch.setattr(provenance, "tensor_digest", read)
    assert model.identity == before
    in_place(model)
    with pytest.raises(pytest.fail.Exception):
        _ = model.identity


def test_inside_edits_the_weights_are_those_before_and_the_edits_are_named(model):
    edit, other = (UCE(damping=damping).fit(model, [FOX]) for damping in (0.1, 0.5))
    before, seen = model.identity, []
    for edits in ([edit], [other], [edit, other], [other, edit], [edit]):
        with model.edited(*edits):
            seen.append(model.identity)
    assert {one.fingerprint for one in seen} == {before.fingerprint}
    assert all(one.differences(before) == ["edits"] for one in seen)
    assert seen[0] == seen[-1] and len({one.hash for one in seen}) == 4
    assert model.identity == before


def test_an_edit_of_a_model_that_has_changed_since_is_refused(model):
    edit = UCE().fit(model, [FOX])
    in_place(model)
    with pytest.raises(WorkbenchError, match="fitted on another model"), model.edited(edit):
        pass


def test_embeddings_die_with_the_encoder_that_made_them(model):
    from workbench.fitting.embedding import embed

    first = embed(model, ["a fox"])
    assert torch.equal(embed(model, ["a fox"]), first)
    text_encoder(model)
    assert not torch.allclose(embed(model, ["a fox"]), first)


def test_an_unknown_object_in_place_is_equal_to_nothing(model):
    class Change:
        def installed(self, model):
            return contextlib.nullcontext()

    hashes = set()
    kept = [Change(), Change()]
    for one in kept:
        with model.edited(one):
            hashes.add(model.identity.hash)
    assert len(hashes) == 2


def test_a_folder_that_is_moved_holds_the_same_model(tiny_sd1, tmp_path):
    moved = shutil.copytree(tiny_sd1.folder, tmp_path / "elsewhere")
    assert load(moved, device="cpu").identity.differences(tiny_sd1.identity) == []
