"""What is chosen at load: LoRA, scheduler, VAE, single file. Each has its effect, and is part of the model."""

import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from saes.errors import WorkbenchError
from tests.ldm_names import save_as_ldm
from tests.tiny_janus import save_tiny_janus
from tests.tiny_pipelines import save_tiny, vae
from workbench.concepts import Concept
from workbench.edits.bake import bake, unbake
from workbench.erasure.uce import UCE
from workbench.models import load

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
ENCODER = "encoder.layers.1.self_attn.v_proj"


def lora(folder: Path, name: str, *, rank: int = 2, width: int = 8, **more: tuple[int, int]) -> Path:
    """A LoRA of one query map of the tiny UNet, and of other layers, each of (in, out), in diffusers' own layout."""
    draw = torch.Generator().manual_seed(len(name))
    layers = {f"unet.{QUERY}": (width, width), **more}
    tensors = {}
    for layer, (into, out) in layers.items():
        tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, into, generator=draw)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(out, rank, generator=draw)
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def update(path: Path, layer: str) -> torch.Tensor:
    """B A in float64: diffusers takes α = r where a file says none."""
    tensors = load_file(path)
    first, second = (tensors[f"{layer}.lora_{factor}.weight"].double() for factor in "AB")
    return second @ first


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny("sd1", tmp_path_factory.mktemp("chosen") / "model")


@pytest.fixture(scope="module")
def plain(saved):
    return load(saved, device="cpu")


def pictures(model):
    return model.generate("a photo of a fox", [0, 1])


def test_a_lora_is_added_to_the_weights_by_its_equation_at_its_scale(saved, plain, tmp_path):
    first, second = lora(tmp_path, "one"), lora(tmp_path, "another")
    both = load(saved, device="cpu", lora={str(first): 0.5, str(second): -2.0})
    query = f"unet.{QUERY}"
    expected = plain.parameter(f"{query}.weight").double() + 0.5 * update(first, query) - 2 * update(second, query)
    assert torch.allclose(both.parameter(f"{query}.weight").double(), expected, atol=1e-5)
    assert sorted(dict(both.pipe.unet.named_parameters())) == sorted(dict(plain.pipe.unet.named_parameters()))
    assert not any(one.requires_grad for one in both.pipe.unet.parameters())
    changed = [
        name for name, one in both.pipe.unet.named_parameters() if not one.equal(plain.parameter(f"unet.{name}"))
    ]
    assert changed == [f"{QUERY}.weight"] and not np.array_equal(pictures(both), pictures(plain))


def test_a_lora_of_the_text_encoder_is_added_too(saved, plain, tmp_path):
    path = lora(tmp_path, "words", **{f"text_encoder.text_model.{ENCODER}": (16, 16)})
    words = load(saved, device="cpu", lora=path)
    assert not words.encode("a fox").embeddings.equal(plain.encode("a fox").embeddings)


def test_results_are_filed_under_the_content_and_the_scale_of_a_lora(saved, plain, tmp_path):
    path = lora(tmp_path, "one")
    once = load(saved, device="cpu", lora=f"{path}=0.5")
    moved = Path(shutil.copy(path, tmp_path / "elsewhere.safetensors"))
    assert load(saved, device="cpu", lora={str(moved): 0.5}).identity.hash == once.identity.hash
    others = [plain, load(saved, device="cpu", lora=path), load(saved, device="cpu", lora=lora(tmp_path, "third"))]
    assert len({model.fingerprint for model in [once, *others]}) == 4
    assert once.provenance.is_as_loaded(once.pipe) and once.folder == saved


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: lora(at, "wide", width=16), "does not fit a StableDiffusionPipeline of this size"),
        (lambda at: lora(at, "more", **{"unet.no_such.to_q": (8, 8)}), "has 2 layers, of which .* has 1"),
        (lambda at: f"{lora(at, 'none')}=0", "has the scale 0"),
        (lambda at: at / "missing.safetensors", "There is no LoRA at"),
        (lambda at: Path(shutil.copy(lora(at, "pickled"), at / "pickled.bin")), "is no safetensors file"),
    ],
    ids=["another width", "a layer that is not there", "no effect", "no file", "a pickle"],
)
def test_a_lora_that_is_not_of_this_model_is_refused(saved, tmp_path, make, said):
    with pytest.raises(WorkbenchError, match=said):
        load(saved, device="cpu", lora=make(tmp_path))


def test_a_baked_model_holds_the_lora_and_says_that_its_base_had_one(saved, tmp_path):
    model = load(saved, device="cpu", lora=lora(tmp_path, "one"))
    edit = UCE().fit(model, [Concept("fox", anchor="cat")])
    folder = bake(model, edit, tmp_path / "baked")
    with model.edited(edit):
        assert (
            load(folder, device="cpu").parameter(f"unet.{QUERY}.weight").equal(model.parameter(f"unet.{QUERY}.weight"))
        )
    assert json.loads((folder / "baked.json").read_text())["base"]["fingerprint"] == model.fingerprint
    with pytest.raises(WorkbenchError, match="Load it without --lora"):
        unbake(load(folder, device="cpu", lora=lora(tmp_path, "one")), edit, tmp_path / "back")


def test_a_scheduler_by_name_is_what_a_folder_with_it_is(saved, plain, tmp_path):
    euler = load(saved, device="cpu", scheduler="EulerDiscreteScheduler")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(saved, safety_checker=None)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "euler")
    shutil.copy(saved / "workbench.json", tmp_path / "euler")
    whole = load(tmp_path / "euler", device="cpu")
    assert type(euler.pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    assert euler.identity.hash == whole.identity.hash
    assert np.array_equal(pictures(euler), pictures(whole)) and not np.array_equal(pictures(euler), pictures(plain))
    assert euler.identity.differences(plain.identity) == ["scheduler"] and euler.fingerprint == plain.fingerprint
    again = load(saved, device="cpu", scheduler=tmp_path / "euler")
    assert again.identity.hash == euler.identity.hash


def test_a_scheduler_of_another_kind_of_noise_is_refused(saved, tiny, tmp_path):
    with pytest.raises(WorkbenchError, match=r"Unknown scheduler .* PNDMScheduler: 'Euler'"):
        load(saved, device="cpu", scheduler="Euler")
    with pytest.raises(WorkbenchError, match="only one of them is a flow"):
        load(saved, device="cpu", scheduler=tiny("sd3").folder)
    with pytest.raises(WorkbenchError, match=r"has no scheduler_config\.json"):
        load(saved, device="cpu", scheduler=tmp_path)


def test_a_vae_from_elsewhere_decodes_and_is_part_of_the_fingerprint(saved, plain, tmp_path):
    other = vae()
    other.save_pretrained(tmp_path / "vae")
    model = load(saved, device="cpu", vae=tmp_path / "vae")
    whole = Path(shutil.copytree(saved, tmp_path / "whole"))
    shutil.rmtree(whole / "vae")
    shutil.copytree(tmp_path / "vae", whole / "vae")
    expected = load(whole, device="cpu")
    assert model.identity.hash == expected.identity.hash != plain.identity.hash
    assert np.array_equal(pictures(model), pictures(expected)) and model.folder == saved


def test_a_vae_of_another_shape_and_what_is_none_are_refused(saved, tmp_path):
    vae(channels=16).save_pretrained(tmp_path / "wide")
    with pytest.raises(WorkbenchError, match="has 16 latent channels, and that of the model 4"):
        load(saved, device="cpu", vae=tmp_path / "wide")
    with pytest.raises(WorkbenchError, match="is no VAE of diffusers"):
        load(saved, device="cpu", vae=saved / "unet")


def test_a_janus_takes_none_of_them(tmp_path):
    janus_folder = save_tiny_janus(tmp_path / "janus")
    for given in ({"scheduler": "DDIMScheduler"}, {"vae": "somewhere"}):
        (name,) = given
        with pytest.raises(WorkbenchError, match=f"--{name}.* has no effect on .*, a Janus"):
            load(janus_folder, device="cpu", **given)


def test_a_single_file_is_the_model_that_it_was_written_from(saved, plain, tmp_path):
    file = save_as_ldm(plain.pipe, tmp_path / "model.safetensors")
    described = Path(shutil.copytree(saved, tmp_path / "config", ignore=shutil.ignore_patterns("*.safetensors")))
    model = load(file, device="cpu", config_from=described)
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(plain.pipe, name).state_dict()
        found = getattr(model.pipe, name).state_dict()
        assert found.keys() == expected.keys() and all(found[key].equal(expected[key]) for key in expected), name
    assert np.array_equal(pictures(model), pictures(plain)) and model.name == str(file)
    assert model.identity.differences(plain.identity) == ["weights"]  # filed under the one file, not the folder's
    assert load(file, device="cpu", config_from=saved).fingerprint == model.fingerprint


def test_a_single_file_that_its_configuration_does_not_describe_is_refused(saved, plain, tiny, tmp_path):
    file = save_as_ldm(plain.pipe, tmp_path / "model.safetensors")
    with pytest.raises(WorkbenchError, match=r"could be downloaded.*--config-from"):
        load(file, device="cpu")
    with pytest.raises(WorkbenchError, match=r"is not the one that .* describes"):
        load(file, device="cpu", config_from=tiny("sd2").folder)
    tensors = load_file(file)
    del tensors["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with pytest.raises(WorkbenchError, match=r"The unet in .*tensors of it are missing"):
        load(tmp_path / "damaged.safetensors", device="cpu", config_from=saved)
    without = {name: one for name, one in load_file(file).items() if not name.startswith("cond_stage")}
    save_file(without, tmp_path / "textless.safetensors")
    with pytest.raises(WorkbenchError, match="holds no text_encoder"):
        load(tmp_path / "textless.safetensors", device="cpu", config_from=saved)
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(WorkbenchError, match=r"could run any code.*from_single_file"):
        load(tmp_path / "model.ckpt", device="cpu")
    with pytest.raises(WorkbenchError, match=r"config_from.* is for a single \.safetensors file"):
        load(saved, device="cpu", config_from=saved)
