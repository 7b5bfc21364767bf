"""Edits that other programs load, and edits that others made: each is held to plain diffusers and transformers."""

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from saes.errors import WorkbenchError
from workbench.edits import AdapterEdit, WeightEdit
from workbench.edits.exporting import LORA_FILE, to_lora, to_text_encoder, to_webui
from workbench.edits.importing import import_edit
from workbench.edits.low_rank import low_rank

LINEAR = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
CONV = "unet.mid_block.attentions.0.proj_in.weight"
TEXT = "text_encoder.encoder.layers.1.mlp.fc1.weight"
PROMPTS = ["a photo of a fox", "a red cat"]


def weights(model, names, rank=2, seed=0, dense=False):
    """A change of low rank, held thin or whole."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name in names:
        shape = model.parameter(name).shape
        left = torch.randn(shape[0], rank, generator=generator) / 4
        right = torch.randn(rank, shape.numel() // shape[0], generator=generator)
        if dense or len(shape) == 4:
            tensors[f"{name}:delta"] = (left @ right).view(shape)
        else:
            tensors |= {f"{name}:left": left, f"{name}:right": right}
    return WeightEdit(
        tensors=tensors, settings={}, method="hand", concepts=["fox"], base_fingerprint=model.fingerprint
    )  # fmt: skip


def adapter(model, alpha=3.0):
    generator, tensors = torch.Generator().manual_seed(1), {}
    for name in (LINEAR, LINEAR.replace("to_k", "to_v")):
        out, width = model.parameter(name).shape
        layer = name.removesuffix(".weight")
        tensors[f"0:{layer}:down"] = torch.randn(2, width, generator=generator)
        tensors[f"0:{layer}:up"] = torch.randn(out, 2, generator=generator) / 4
    return AdapterEdit(
        tensors=tensors, targets=[["fox"]], alphas=[alpha], gate="both", settings={}, method="spm", concepts=["fox"],
        base_fingerprint=model.fingerprint,
    )  # fmt: skip


def said_by(pipe, latents, **added):
    """What a plain pipeline predicts."""
    embeddings = pipe.encode_prompt(PROMPTS, "cpu", 1, False)[0]
    with torch.no_grad():
        return pipe.unet(latents, 500, encoder_hidden_states=embeddings, added_cond_kwargs=added or None).sample


def said_by_ours(model, edit, **added):
    with model.edited(edit) if edit else torch.no_grad():
        return said_by(model.pipe, model.noise([0, 1]), **added)


@pytest.mark.parametrize("form", ["peft", "webui"])
@pytest.mark.parametrize(
    ("text", "dense"),
    [("mlp.fc1", False), ("mlp.fc2", True), ("self_attn.v_proj", False), ("self_attn.out_proj", False)],
)
def test_a_lora_in_plain_diffusers_is_the_edit_in_unet_and_text_encoder(tiny_sd1, tmp_path, form, text, dense):
    edit = weights(tiny_sd1, [LINEAR, CONV, TEXT.replace("mlp.fc1", text)], dense=dense)
    if form == "peft":
        written = to_lora(edit, tmp_path / "lora")
    else:
        written = to_webui(edit, tiny_sd1, tmp_path / "lora.safetensors")
    assert written.lost < 1e-5 and {len(term.down) for term in written.terms.values()} == {2}
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd1.folder)
    pipe.load_lora_weights(tmp_path / ("lora" if form == "peft" else "lora.safetensors"))
    wanted = said_by_ours(tiny_sd1, edit)
    torch.testing.assert_close(said_by(pipe, tiny_sd1.noise([0, 1])), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(wanted, said_by_ours(tiny_sd1, None), atol=1e-3)
    only_unet = weights(tiny_sd1, [LINEAR, CONV])
    assert not torch.allclose(wanted, said_by_ours(tiny_sd1, only_unet), atol=1e-3), "the text encoder's part acts"


def test_both_encoders_of_sdxl_have_names_of_their_own(tiny_sdxl, tmp_path):
    second = "text_encoder_2.text_model.encoder.layers.0.mlp.fc2.weight"
    edit = weights(tiny_sdxl, [TEXT, second])
    to_webui(edit, tiny_sdxl, tmp_path / "lora.safetensors")
    names = {name.split("_encoder_layers")[0] for name in load_file(tmp_path / "lora.safetensors")}
    assert names == {"lora_te1_text_model", "lora_te2_text_model"}
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl.folder)
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    with tiny_sdxl.edited(edit), torch.no_grad():
        wanted = tiny_sdxl.pipe.encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    with torch.no_grad():
        got = pipe.encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    for ours, theirs in ((wanted[0], got[0]), (wanted[2], got[2])):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_a_rank_keeps_the_best_product_and_says_what_it_loses(tiny_sd1):
    edit = weights(tiny_sd1, [LINEAR], rank=5, dense=True)
    values = torch.linalg.svdvals(edit.delta(LINEAR).double())
    found = low_rank(edit, 3)
    (term,) = found.terms.values()
    gone = (edit.delta(LINEAR) - term.up @ term.down).double().norm()
    assert float(gone) == pytest.approx(float(values[3:].norm()), rel=1e-4)
    assert found.lost == pytest.approx(float(values[3:].norm() / values.norm()), rel=1e-4)


def test_what_no_lora_holds_is_refused(tiny_sd1, tmp_path):
    bias = TEXT.replace("weight", "bias")
    edit = replace(weights(tiny_sd1, [LINEAR]), tensors={f"{bias}:delta": torch.ones(tiny_sd1.parameter(bias).shape)})
    with pytest.raises(WorkbenchError, match=r"fc1\.bias, which is no weight of a linear layer.*workbench bake"):
        to_lora(edit, tmp_path / "new")
    whole = weights(tiny_sd1, [LINEAR], rank=16, dense=True)
    with pytest.raises(WorkbenchError, match="as large as the weights"):
        to_lora(whole, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert low_rank(whole, 2).lost > 0.1
    with pytest.raises(WorkbenchError, match="not one text encoder alone"):
        to_text_encoder(weights(tiny_sd1, [LINEAR, TEXT]), tiny_sd1, tmp_path / "new")
    with pytest.raises(WorkbenchError, match=r"ends in \.safetensors"):
        to_webui(whole, tiny_sd1, tmp_path / "lora.pt")


def test_a_text_encoder_alone_goes_into_a_plain_pipeline(tiny_sd1, tmp_path):
    edit = weights(tiny_sd1, [TEXT])
    assert to_text_encoder(edit, tiny_sd1, tmp_path / "encoder") == "text_encoder"
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd1.folder)
    pipe.text_encoder = CLIPTextModel.from_pretrained(tmp_path / "encoder")
    torch.testing.assert_close(said_by(pipe, tiny_sd1.noise([0, 1])), said_by_ours(tiny_sd1, edit))


@pytest.mark.parametrize("form", ["peft", "webui"])
def test_a_lora_of_others_is_read_again_as_what_it_was(tiny_sd1, tmp_path, form):
    edit = weights(tiny_sd1, [LINEAR, CONV, TEXT])
    if form == "peft":
        to_lora(edit, tmp_path / "lora")
        path = tmp_path / "lora" / LORA_FILE
    else:
        to_webui(edit, tiny_sd1, path := tmp_path / "lora.safetensors")
    again = import_edit(path, tiny_sd1, ["fox"], "uce")
    assert (again.names, again.method, again.concepts) == (edit.names, "uce", ("fox",))
    for name in edit.names:
        torch.testing.assert_close(again.delta(name), edit.delta(name), rtol=1e-4, atol=1e-5)


def test_adapters_of_spm_open_for_their_concepts_again(tiny_sd1, tmp_path):
    edit = adapter(tiny_sd1)
    to_webui(edit, tiny_sd1, tmp_path / "spm.safetensors")
    again = import_edit(tmp_path / "spm.safetensors", tiny_sd1, ["fox"], "spm")
    assert isinstance(again, AdapterEdit) and again.gate == "both" and again.targets == (("fox",),)
    encoding, latents = tiny_sd1.encode(PROMPTS), tiny_sd1.noise([0, 1])
    predictions = []
    for one in (edit, again):
        with tiny_sd1.edited(one):
            predictions.append(tiny_sd1.noise_prediction(latents, 500, encoding))
    torch.testing.assert_close(predictions[1], predictions[0])
    assert not torch.allclose(predictions[0], tiny_sd1.noise_prediction(latents, 500, encoding))


@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_changed_weights_of_others_are_an_edit(tiny_sd1, tmp_path, prefix):
    """As ESD and UCE publish them: whole parameters, named within the UNet or within the pipeline."""
    edit = weights(tiny_sd1, [LINEAR, CONV])
    kept = "unet.mid_block.attentions.0.proj_out.weight"
    changed = {name: tiny_sd1.parameter(name).detach() + edit.delta(name) for name in edit.names}
    given = {**changed, kept: tiny_sd1.parameter(kept).detach()}
    save_file(
        {prefix + name.removeprefix("unet."): one.clone() for name, one in given.items()}, tmp_path / "esd.safetensors"
    )
    again = import_edit(tmp_path / "esd.safetensors", tiny_sd1, ["fox"], "esd")
    assert again.names == edit.names and again.settings["imported"] == "esd.safetensors"
    torch.testing.assert_close(said_by_ours(tiny_sd1, again), said_by_ours(tiny_sd1, edit), rtol=1e-4, atol=1e-5)


def test_a_text_encoder_of_others_is_an_edit(tiny_sd1, tmp_path):
    edit = weights(tiny_sd1, [TEXT])
    to_text_encoder(edit, tiny_sd1, tmp_path / "encoder")
    again = import_edit(tmp_path / "encoder" / "model.safetensors", tiny_sd1, ["fox"], "advunlearn")
    assert again.names == edit.names
    torch.testing.assert_close(again.delta(TEXT), edit.delta(TEXT), rtol=1e-4, atol=1e-5)


def test_files_of_something_else_are_refused(tiny_sd1, tiny_sdxl, tmp_path):
    save_file({"unet.nowhere.weight": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    save_file({LINEAR: torch.ones(2, 2)}, tmp_path / "small.safetensors")
    save_file({LINEAR: tiny_sd1.parameter(LINEAR).detach().clone()}, tmp_path / "same.safetensors")
    save_file({"encoder.layers.0.self_attn.q_proj.weight": torch.ones(16, 16)}, tmp_path / "either.safetensors")
    for name, model, said in (
        ("other", tiny_sd1, "is nothing of"), ("small", tiny_sd1, r"is \(2, 2\), and that of"),
        ("same", tiny_sd1, "changes nothing"), ("either", tiny_sdxl, "is nothing of|, and that of"),
    ):  # fmt: skip
        with pytest.raises(WorkbenchError, match=said):
            import_edit(tmp_path / f"{name}.safetensors", model, ["fox"], "esd")
    with pytest.raises(WorkbenchError, match="pickled is never opened"):
        import_edit(tmp_path / "esd.pt", tiny_sd1, ["fox"], "esd")
    half = {"unet.mid_block.attentions.0.proj_in.lora_A.weight": torch.ones(1, 8, 1, 1)}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(WorkbenchError, match="lacks the up factor"):
        import_edit(tmp_path / "half.safetensors", tiny_sd1, ["fox"], "spm")
