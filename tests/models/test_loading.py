import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny, sd1
from workbench.models import load, weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny("sd1", tmp_path_factory.mktemp("saved") / "pipeline")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the tiny pipeline's folder, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def weights_of(folder):
    return folder / "unet" / "diffusion_pytorch_model.safetensors"


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_name_that_is_neither_folder_nor_hub_id_names_the_nearest():
    with pytest.raises(WorkbenchError, match=r"Unknown model 'toyy'. Did you mean 'toy'"):
        load("toyy")


def test_a_hub_id_without_network_says_what_to_check():
    with pytest.raises(WorkbenchError, match=r"'nobody/no-such-model' is neither a folder nor .*Check the spelling"):
        load("nobody/no-such-model")


def test_weights_that_are_pickles_are_refused(folder):
    weights_of(folder).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(WorkbenchError, match=r"only as a pickle \(diffusion_pytorch_model.bin\).*Convert it"):
        load(folder)


def test_missing_weights_are_named(folder):
    weights_of(folder).unlink()
    with pytest.raises(WorkbenchError, match="unet has no weights"):
        load(folder)


def test_a_truncated_file_is_named(folder):
    path = weights_of(folder)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WorkbenchError, match=r"unet/diffusion_pytorch_model.safetensors is not a whole"):
        load(folder)


def test_numbers_that_overflow_in_half_precision_are_named_with_their_remedy(folder):
    tensors = load_file(weights_of(folder))
    tensors["conv_in.weight"][0, 0, 0, 0] = 1e5
    save_file(tensors, weights_of(folder), metadata={"format": "pt"})
    assert load(folder, device="cpu").pipe.unet.conv_in.weight.max() == 1e5
    with pytest.raises(WorkbenchError, match=r"unet hold NaN or infinity, in conv_in.weight\. .* load it in float32"):
        load(folder, device="cpu", dtype=torch.float16)


def test_large_numbers_whose_sum_overflows_are_numbers(folder):
    tensors = load_file(weights_of(folder))
    tensors["conv_in.weight"].fill_(3e38)
    save_file(tensors, weights_of(folder), metadata={"format": "pt"})
    load(folder, device="cpu")


def test_a_single_file_and_a_component_are_told_from_a_pipeline(folder):
    with pytest.raises(WorkbenchError, match="is a single file"):
        load(weights_of(folder))
    with pytest.raises(WorkbenchError, match=r"no model_index\.json"):
        load(folder / "unet")


def test_another_kind_of_pipeline_is_refused_by_name(folder):
    change(folder / "model_index.json", _class_name="StableDiffusionXLPipelin")
    with pytest.raises(WorkbenchError, match="Did you mean 'StableDiffusionXLPipeline'"):
        load(folder)


def test_code_in_the_folder_is_never_run(folder):
    (folder / "unet" / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Net: ...\n")
    change(folder / "model_index.json", unet=["evil", "Net"])
    with pytest.raises(WorkbenchError, match=r"'unet' from 'evil'.*Code that comes with a model is never run"):
        load(folder)
    assert not (folder / "ran").exists()


def test_the_safety_checker_stays_off_even_if_the_folder_has_one(folder):
    change(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    model = load(folder, device="cpu")
    assert model.pipe.safety_checker is None
    assert model.generate("a fox", 1, steps=1).any()


def test_a_model_is_called_what_it_was_loaded_by(saved):
    model = load(saved, device="cpu")
    assert model.name == str(saved) and load(model.name, device="cpu").fingerprint == model.fingerprint


def test_weights_are_frozen_and_of_the_type_asked_for(saved):
    model = load(saved, device="cpu", dtype=torch.bfloat16)
    parameters = [p for part in ("unet", "vae", "text_encoder") for p in getattr(model.pipe, part).parameters()]
    assert {p.dtype for p in parameters} == {torch.bfloat16} and not any(p.requires_grad for p in parameters)
    assert load(saved, device="cpu").pipe.unet.dtype == torch.float32


def test_a_folder_with_only_the_half_precision_variant_loads(tmp_path):
    sd1().to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    model = load(tmp_path / "half", device="cpu")
    assert model.pipe.unet.dtype == torch.float32 and len(model.fingerprint) == 64


def test_a_folder_can_bring_its_own_defaults_and_nothing_else(folder):
    change(folder / "workbench.json", steps=3)
    assert load(folder, device="cpu").defaults == (3, 7.5, 32)
    change(folder / "workbench.json", stepps=3)
    with pytest.raises(WorkbenchError, match="'stepps'"):
        load(folder)
    (folder / "workbench.json").unlink()
    assert load(folder, device="cpu").defaults == (50, 7.5, 32)


def test_loading_prints_nothing(saved, capfd):
    load(saved, device="cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_another_process_and_in_a_copy(saved, folder):
    here = load(saved, device="cpu").fingerprint
    code = f"from workbench.models import load; print(load({str(folder)!r}, device='cpu').fingerprint)"
    root = Path(__file__).parents[2]
    there = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_the_fingerprint_changes_with_one_weight(saved, folder):
    tensors = load_file(weights_of(folder))
    tensors["conv_in.bias"][0] += 1
    save_file(tensors, weights_of(folder), metadata={"format": "pt"})
    assert load(folder, device="cpu").fingerprint != load(saved, device="cpu").fingerprint


def test_hashes_are_remembered_until_a_file_changes(saved, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED_NS", 0)
    files = {"unet": [weights_of(saved)]}
    first = weights.fingerprint(files)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "sha256_of", lambda path: pytest.fail("hashed again"))
        assert weights.fingerprint(files) == first
        weights_of(saved).touch()
        with pytest.raises(pytest.fail.Exception):
            weights.fingerprint(files)
    assert weights.fingerprint(files) == first


def test_a_file_of_equal_size_and_time_is_another_file(folder, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED_NS", 0)
    path = weights_of(folder)
    first, when = weights.fingerprint({"unet": [path]}), path.stat()
    tensors = load_file(path)
    tensors["conv_in.bias"][0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (when.st_size, when.st_mtime_ns)
    assert weights.fingerprint({"unet": [path]}) != first


def test_a_file_that_changed_a_moment_ago_is_not_remembered(folder):
    path = weights_of(folder)
    os.utime(path)
    weights.fingerprint({"unet": [path]})
    assert str(path.resolve()) not in weights._read_memory()


def test_a_home_that_cannot_be_written_only_costs_time(saved, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(weights.fingerprint({"unet": [weights_of(saved)]})) == 64


def saved_as(folder: Path, **how: object) -> Path:
    """The tiny pipeline in the form that `how` says, with the weights of `save_tiny`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sd1().save_pretrained(folder, safe_serialization=True, **how)
    return folder


@pytest.mark.parametrize("variant", ["fp16", "bf16", "mine"])
@pytest.mark.parametrize("size", ["20KB", "10GB"], ids=["shards", "whole"])
def test_a_variant_that_is_all_there_is_is_opened(variant, size, saved, tmp_path):
    folder = saved_as(tmp_path / "other", variant=variant, max_shard_size=size)
    assert not list(folder.rglob("model.safetensors"))
    model = load(folder, device="cpu")
    plain = load(saved, device="cpu")
    for name, weight in plain.pipe.unet.state_dict().items():
        assert torch.equal(weight, model.pipe.unet.state_dict()[name])
    assert torch.equal(model.encode("a fox").embeddings, plain.encode("a fox").embeddings)


def test_what_is_fingerprinted_is_what_is_read(folder):
    encoder = folder / "text_encoder"
    weights_of(folder).rename(
        folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    )  # the UNet has a variant only
    zeros = {name: tensor * 0 for name, tensor in load_file(encoder / "model.safetensors").items()}
    save_file(zeros, encoder / "model.fp16.safetensors", metadata={"format": "pt"})
    model = load(folder, device="cpu")
    assert model.encode("a fox").embeddings.abs().max() > 0, "the plain file is read where there is one"
    save_file(zeros, encoder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder, device="cpu").fingerprint != model.fingerprint


def test_several_unknown_variants_are_refused_by_name(folder):
    path = weights_of(folder)
    shutil.copy(path, path.with_name("diffusion_pytorch_model.ema.safetensors"))
    path.rename(path.with_name("diffusion_pytorch_model.mine.safetensors"))
    with pytest.raises(WorkbenchError, match=r"unet has several variants of its weights \(ema, mine\)"):
        load(folder)


def test_sd3_opens_without_its_largest_encoder_and_others_only_whole(folder, tmp_path):
    small = save_tiny("sd3", tmp_path / "sd3")
    change(small / "model_index.json", text_encoder_3=[None, None])
    shutil.rmtree(small / "text_encoder_3")
    model = load(small, device="cpu")
    assert model.pipe.tokenizer_3 is None, "a tokenizer whose tokens nobody reads goes too"
    assert model.generate("a fox", 1, steps=1).any()
    assert len(model.tokens("a fox")) == 1 and "text3.0" not in model.sites()
    recorded = ["text2.0", "transformer.0.attn.heads"] if "transformer.0.attn.heads" in model.sites() else ["text2.0"]
    with model.session(record=recorded) as session:
        model.generate("a fox", 1, steps=1)
    assert all(session.records[alias] for alias in recorded)
    change(folder / "model_index.json", text_encoder=[None, None])
    with pytest.raises(WorkbenchError, match="is without the text_encoder of a StableDiffusionPipeline"):
        load(folder)


def test_a_class_that_is_not_there_yet_is_named(folder):
    change(folder / "model_index.json", scheduler=["diffusers", "NewerScheduler"])
    with pytest.raises(WorkbenchError, match=r"wants a NewerScheduler as its scheduler.*Install a newer diffusers"):
        load(folder)
