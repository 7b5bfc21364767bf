"""Adapters beside layers: their sum, their gates, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from saes.disk import read_tensors
from saes.errors import WorkbenchError
from workbench.edits import AdapterEdit, combined, load_edit, transferred
from workbench.edits.adapter import adaptable
from workbench.edits.bake import bake
from workbench.edits.exporting import to_lora
from workbench.edits.gating import check_gate
from workbench.models import load
from workbench.models.beside import Term, beside

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
PROJ = "unet.mid_block.attentions.0.proj_in"  # a convolution of 1 × 1
CONV = "unet.conv_in"  # one of 3 × 3


def adapter(model, *targets, layers=(LAYER, PROJ, CONV), rank=1, seed=0, size=0.3, **told) -> AdapterEdit:
    """One adapter a target with random factors, α = 3."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for number in range(len(targets)):
        for layer in layers:
            out, *inner = model.module(layer).weight.shape
            tensors[f"{number}:{layer}:down"] = size * torch.randn(rank, *inner, generator=generator)
            tensors[f"{number}:{layer}:up"] = size * torch.randn(out, rank, generator=generator)
    told = {"gate": "always", "settings": {"rank": rank}, "method": "spm", **told}
    return AdapterEdit(
        tensors=tensors, targets=[[one] for one in targets], alphas=[3.0] * len(targets), concepts=targets,
        base_fingerprint=model.fingerprint, **told,
    )  # fmt: skip


def prediction(model, *edits, prompts=("a photo of a fox", "a red cat")):
    with model.edited(*edits), torch.no_grad():
        return model.noise_prediction(model.noise(range(len(prompts))), 500, model.encode(prompts))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Linear(7, 5), (2, 3, 7)), (nn.Conv2d(4, 6, 1), (2, 4, 5, 5)), (nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 6, 5))],
    ids=["linear", "1 × 1", "3 × 3 with stride"],
)
@pytest.mark.parametrize("grad", [False, True])
def test_equation_1_is_the_layer_with_the_merged_weight(layer, shape, grad):
    layer, generator = layer.double(), torch.Generator().manual_seed(0)
    weight = layer.weight.detach()
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    down = torch.randn(3, *weight.shape[1:], generator=generator, dtype=torch.float64)
    up = torch.randn(len(weight), 3, generator=generator, dtype=torch.float64)
    gates = torch.rand(2, 3, generator=generator, dtype=torch.float64)  # each row its own

    def merged(row):
        merged_layer = type(layer)(**settings(layer)).double()
        delta = torch.einsum("ok,k,k...->o...", up, gates[row], down)
        merged_layer.load_state_dict({"weight": weight + delta, "bias": layer.bias.detach()})
        return merged_layer(x[row : row + 1])

    find = nn.ModuleDict({"layer": layer}).get_submodule
    with (
        torch.set_grad_enabled(grad),
        beside(find, {"layer": Term(down, up)}, lambda: lambda low: low * gates[:, None]),
    ):
        got = layer(x)
    torch.testing.assert_close(got, torch.cat([merged(0), merged(1)]))
    assert not torch.allclose(got, layer(x))
    assert torch.equal(layer.weight, weight) and not layer._forward_hooks


def settings(layer):
    if isinstance(layer, nn.Linear):
        return {"in_features": layer.in_features, "out_features": layer.out_features}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
    return {name: getattr(layer, name) for name in names}


def test_an_output_is_affine_in_the_gate_and_not_in_its_square(tiny_sd1):
    def output(factor, **told):
        edit = adapter(tiny_sd1, "fox", layers=[LAYER], factor=factor, gate="tokens", **told)
        with tiny_sd1.edited(edit), torch.no_grad():
            seen = []
            hook = tiny_sd1.module(LAYER).register_forward_hook(lambda _, __, out: seen.append(out.clone()))
            tiny_sd1.noise_prediction(tiny_sd1.noise([0]), 500, tiny_sd1.encode("a fox"))
            hook.remove()
        return seen[0].double()

    none, half, whole = output(0.0), output(0.5), output(1.0)
    assert not torch.allclose(whole, none)
    torch.testing.assert_close(half - none, 0.5 * (whole - none), rtol=1e-4, atol=1e-6)
    squared = output(0.5, combination="official")
    torch.testing.assert_close(squared - none, 0.25 * (whole - none), rtol=1e-4, atol=1e-6)


def test_a_shut_or_fresh_adapter_leaves_the_model_as_it_is_to_the_bit(tiny_sd1):
    edit = adapter(tiny_sd1, "fox", gate="tokens")
    plain = prediction(tiny_sd1, prompts=("a red cat",))
    assert torch.equal(prediction(tiny_sd1, edit, prompts=("a red cat",)), plain)  # no token of the target: γ = 0
    assert torch.equal(prediction(tiny_sd1, replace(edit, factor=0.0)), prediction(tiny_sd1))
    assert torch.equal(prediction(tiny_sd1, edit.no_op()), prediction(tiny_sd1))
    assert not torch.allclose(prediction(tiny_sd1, edit, prompts=("a fox",)), prediction(tiny_sd1, prompts=("a fox",)))


def test_adapters_add_up_and_their_order_does_not_matter(tiny_sd1):
    one, two = adapter(tiny_sd1, "fox", seed=1), adapter(tiny_sd1, "cat", seed=2, rank=2)
    together = prediction(tiny_sd1, combined([one, two]))
    torch.testing.assert_close(together, prediction(tiny_sd1, combined([two, one])))
    torch.testing.assert_close(together, prediction(tiny_sd1, one, two))
    torch.testing.assert_close(together, prediction(tiny_sd1, combined([one, two]).opened()))
    torch.testing.assert_close(together, prediction(tiny_sd1, two.opened(), one.opened()))
    assert not torch.allclose(together, prediction(tiny_sd1, one))


def test_with_one_gate_shut_two_adapters_are_one(tiny_sd1):
    one, two = (adapter(tiny_sd1, name, seed=seed, gate="tokens") for seed, name in enumerate(("fox", "cat")))
    both = combined([one, two])
    official = replace(both, combination="official")
    for edit in (both, official):  # "a fox" shuts out the cat
        torch.testing.assert_close(
            prediction(tiny_sd1, edit, prompts=("a fox",)), prediction(tiny_sd1, one, prompts=("a fox",))
        )
    mixed = ("a fox cat",)
    torch.testing.assert_close(prediction(tiny_sd1, both, prompts=mixed), prediction(tiny_sd1, one, two, prompts=mixed))
    assert not torch.allclose(prediction(tiny_sd1, official, prompts=mixed), prediction(tiny_sd1, both, prompts=mixed))


def test_the_official_combination_is_the_product_of_the_sums(tiny_sd1):
    both = combined([adapter(tiny_sd1, "fox", seed=1), adapter(tiny_sd1, "cat", seed=2)])
    summed = {
        f"0:{layer}:{side}": both.tensors[f"0:{layer}:{side}"] + both.tensors[f"1:{layer}:{side}"]
        for layer in both.layers
        for side in ("down", "up")
    }
    one = replace(both, tensors=summed, targets=both.targets[:1], alphas=both.alphas[:1])
    torch.testing.assert_close(
        prediction(tiny_sd1, replace(both, combination="official")), prediction(tiny_sd1, one), rtol=1e-4, atol=1e-5
    )


def test_each_picture_of_a_batch_has_the_gate_of_its_own_prompt(tiny_sd1):
    edit = adapter(tiny_sd1, "red fox", gate="tokens")
    prompts = ["a red fox", "a red cat", "a cat"]
    with tiny_sd1.edited(edit):
        batch = tiny_sd1.generate(prompts, [0, 1, 2], steps=2)
        alone = [tiny_sd1.generate(prompt, seed, steps=2)[0] for seed, prompt in enumerate(prompts)]
    plain = tiny_sd1.generate(prompts, [0, 1, 2], steps=2)
    with tiny_sd1.edited(replace(edit, gate="always", factor=0.5)):
        half = tiny_sd1.generate(prompts[1], 1, steps=2)[0]
    np.testing.assert_allclose(batch, np.stack(alone), atol=1)
    assert not np.array_equal(batch[0], plain[0]) and np.array_equal(batch[2], plain[2])
    np.testing.assert_allclose(batch[1], half, atol=1)  # one of two tokens, in both branches of guidance


def test_rows_of_no_known_prompt_have_the_adapter_wide_open(tiny_sd1):
    edit = adapter(tiny_sd1, "fox", gate="tokens")
    unknown = replace(tiny_sd1.encode("a cat"), prompts=None)
    latents = tiny_sd1.noise([0])
    with torch.no_grad(), tiny_sd1.edited(edit):
        got = tiny_sd1.noise_prediction(latents, 500, unknown)
    torch.testing.assert_close(got, prediction(tiny_sd1, replace(edit, gate="always"), prompts=("a cat",)))


def test_an_adapter_survives_the_disk_and_the_table_shows_each(tiny_sd1, tmp_path):
    edit = combined([adapter(tiny_sd1, "fox", seed=1), adapter(tiny_sd1, "cat", seed=2)])
    edit = replace(edit, factor=0.7, combination="official")
    edit.save(tmp_path / "edit")
    loaded = load_edit(tmp_path / "edit")
    assert torch.equal(prediction(tiny_sd1, loaded), prediction(tiny_sd1, edit))
    rows = loaded.rows(tiny_sd1)
    assert [(row["adapter"], row["rank"]) for row in rows] == [("fox", 1)] * 3 + [("cat", 1)] * 3
    down, up = edit.only(1).term(LAYER)
    row = next(row for row in rows if row["adapter"] == "cat" and row["parameter"] == f"{LAYER}.weight")
    assert row["norm"] == pytest.approx(0.7 * float(down.norm() * up.norm()), rel=1e-5)


def test_the_control_has_other_directions_of_equal_norm_behind_the_same_gate(tiny_sd1):
    edit = adapter(tiny_sd1, "fox", rank=2, gate="tokens")
    control = edit.random(seed=3)
    for own, other in zip(edit.rows(), control.rows(), strict=True):
        assert own["singular_values"] == pytest.approx(other["singular_values"], rel=1e-4, abs=1e-5)
    down, turned = edit.tensors[f"0:{LAYER}:down"], control.tensors[f"0:{LAYER}:down"]
    assert float((down * turned).sum().abs() / (down.norm() * turned.norm())) < 0.9
    assert torch.equal(prediction(tiny_sd1, control, prompts=("a cat",)), prediction(tiny_sd1, prompts=("a cat",)))


def test_an_exported_lora_is_the_ungated_edit(tiny_sd1, tmp_path):
    edit = replace(combined([adapter(tiny_sd1, "fox", seed=1), adapter(tiny_sd1, "cat", seed=2)]), factor=0.8)
    to_lora(replace(edit, gate="both"), folder := tmp_path / "lora")
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd1.folder)
    pipe.load_lora_weights(folder)
    encoding = tiny_sd1.encode(["a photo of a fox", "a red cat"])
    with torch.no_grad():
        got = pipe.unet(tiny_sd1.noise([0, 1]), 500, encoder_hidden_states=encoding.embeddings).sample
    torch.testing.assert_close(got, prediction(tiny_sd1, edit), rtol=1e-5, atol=1e-6)
    assert len(read_tensors(folder / "pytorch_lora_weights.safetensors")) == 2 * len(edit.layers)
    assert not torch.allclose(got, prediction(tiny_sd1))


def test_only_an_ungated_edit_is_baked(tiny_sd1, tmp_path):
    edit = adapter(tiny_sd1, "fox")
    bake(tiny_sd1, edit, tmp_path / "baked")
    torch.testing.assert_close(prediction(load(str(tmp_path / "baked"))), prediction(tiny_sd1, edit))
    with pytest.raises(WorkbenchError, match=r"opens by the prompt.*gate='always'"):
        bake(tiny_sd1, replace(edit, gate="both"), tmp_path / "other")
    with pytest.raises(WorkbenchError, match="no sum"):
        bake(tiny_sd1, replace(edit, combination="official"), tmp_path / "other")


def test_an_adapter_is_carried_over_to_a_model_of_its_shapes_alone(tiny_sd1, tiny_sd2, tiny_flux, tmp_path):
    edit = adapter(tiny_sd1, "fox", gate="both")
    with tiny_sd1.edited(adapter(tiny_sd1, "fox", layers=[CONV], seed=9).opened()):
        tiny_sd1.pipe.save_pretrained(tmp_path / "relative")
    other = load(str(tmp_path / "relative"))
    with pytest.raises(WorkbenchError, match=r"another model.*transferred"):
        edit.check(other)
    moved = transferred(edit, other)
    assert moved.base_fingerprint == other.fingerprint
    assert moved.settings["transferred_from"] == tiny_sd1.fingerprint
    assert not torch.allclose(prediction(other, moved), prediction(other))
    with pytest.raises(WorkbenchError, match=r"is for a weight of \(16, 16, 1, 1\) and that of .* is \(16, 16\)"):
        transferred(edit, tiny_sd2)
    wider = {**edit.tensors, f"0:{LAYER}:down": torch.ones(1, 24)}
    with pytest.raises(WorkbenchError, match=r"is for a weight of \(16, 24\) and that of .* is \(16, 16\)"):
        transferred(replace(edit, tensors=wider), tiny_sd1)
    with pytest.raises(WorkbenchError, match=r"adapters for 3 layers, and .* lacks 3 of them, first unet.conv_in"):
        edit.check(tiny_flux)


def test_adapters_that_do_not_fit_together_are_refused(tiny_sd1):
    edit = adapter(tiny_sd1, "fox", "cat")
    with pytest.raises(WorkbenchError, match=f"2 adapters beside 3 layers.*first 1:{LAYER}:up"):
        replace(edit, tensors={key: one for key, one in edit.tensors.items() if key != f"1:{LAYER}:up"})
    with pytest.raises(WorkbenchError, match="with 1 α"):
        replace(edit, alphas=[1.0])
    with pytest.raises(WorkbenchError, match="no adapters"):
        combined([])
    with pytest.raises(WorkbenchError, match="cannot be one edit"):
        combined([edit, replace(edit, gate="both")])
    mixed = combined([edit, adapter(tiny_sd1, "dog", rank=2)])
    with pytest.raises(WorkbenchError, match="different ranks"):
        replace(mixed, combination="official")


def test_a_gate_without_a_text_encoder_is_refused_in_a_sentence(tiny_sd1):
    edit, blind = adapter(tiny_sd1, "fox", gate="both"), load(tiny_sd1.folder, device="cpu")
    blind.pipe.text_encoder = None  # diffusers notes this in the pipeline for good: not in the one of all tests
    with pytest.raises(WorkbenchError, match=r"has no text_encoder.*gate='always'"):
        edit.check(blind)
    replace(edit, gate="always").check(blind)
    with pytest.raises(WorkbenchError, match="'tokens'"):
        check_gate("token", tiny_sd1)


def test_layers_that_never_run_are_named(tiny_sd1):
    edit = adapter(tiny_sd1, "fox", layers=[LAYER, "unet.time_embedding.linear_1"])
    prediction(tiny_sd1, edit)  # both run
    with pytest.raises(WorkbenchError, match=f"1 layers with adapters did not, first {LAYER}"):
        with tiny_sd1.edited(edit):
            tiny_sd1.module("unet.mid_block").forward = lambda hidden_states, *_, **__: hidden_states
            try:
                prediction(tiny_sd1)
            finally:
                del tiny_sd1.module("unet.mid_block").forward
    assert LAYER in adaptable(tiny_sd1)
