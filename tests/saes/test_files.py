"""Any sae-lens folder opens; anything else is refused with a remedy."""

import json
import subprocess
import sys

import pytest
import sae_lens
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig

from saes.errors import WorkbenchError
from saes.files import check_width, load, save


@pytest.fixture
def theirs():
    """A topk SAE fresh from sae-lens, with biases that are not zero."""
    torch.manual_seed(0)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=5, d_sae=12, k=3))
    sae.b_dec.data.normal_()
    sae.b_enc.data.normal_()
    return sae


def test_an_inference_folder_of_sae_lens_opens(theirs, tmp_path):
    theirs.save_inference_model(tmp_path / "sae")
    rows = torch.randn(7, 5)
    torch.testing.assert_close(load(tmp_path / "sae")(rows), theirs(rows))


def test_what_we_save_opens_in_plain_sae_lens_with_its_metadata(theirs, tmp_path):
    theirs.save_inference_model(tmp_path / "theirs")
    sae = load(tmp_path / "theirs")
    save(sae, tmp_path / "ours", {"hook_name": "unet.mid", "site": {"path": "unet.mid_block", "tokens": ["cond"]}})
    again = sae_lens.SAE.load_from_disk(tmp_path / "ours")
    rows = torch.randn(7, 5)
    assert torch.equal(again(rows), sae(rows))
    assert again.cfg.metadata.site == {"path": "unet.mid_block", "tokens": ["cond"]}
    config = json.loads((tmp_path / "ours" / "cfg.json").read_text())
    del config["metadata"]["sae_lens_version"]  # without it, the reader for old folders loses what it does not know
    (tmp_path / "ours" / "cfg.json").write_text(json.dumps(config))
    assert sae_lens.SAE.load_from_disk(tmp_path / "ours").cfg.metadata.site is None


def test_a_training_checkpoint_of_batchtopk_opens_as_the_jumprelu_it_becomes(tmp_path):
    torch.manual_seed(0)
    training = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=5, d_sae=12, k=3))
    training.topk_threshold.fill_(0.05)
    training.save_model(tmp_path / "checkpoint")
    with pytest.raises(KeyError):  # the trap: sae-lens itself has no inference class of this name
        sae_lens.SAE.load_from_disk(tmp_path / "checkpoint")
    sae = load(tmp_path / "checkpoint")
    rows = torch.randn(7, 5)
    assert sae.cfg.architecture() == "jumprelu" and torch.allclose(sae.threshold, torch.tensor(0.05))
    torch.testing.assert_close(sae(rows)[:1], sae(rows[:1]))  # a row's features do not depend on its neighbours


def test_loading_needs_no_gradients_and_gives_float32(theirs, tmp_path):
    theirs.to(dtype=torch.float16).save_inference_model(tmp_path / "sae")
    sae = load(tmp_path / "sae")
    assert sae.W_enc.dtype == torch.float32 and not any(p.requires_grad for p in sae.parameters())


def test_an_altered_byte_is_noticed_and_a_folder_without_hashes_opens(theirs, tmp_path):
    theirs.save_inference_model(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path, {})
    weights = tmp_path / "sae_weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WorkbenchError, match=r"sae_weights\.safetensors was altered.*remove hashes\.json"):
        load(tmp_path)
    assert sae_lens.SAE.load_from_disk(tmp_path).cfg.d_sae == 12  # plain sae-lens passes over the file
    (tmp_path / "hashes.json").write_text("[]")
    with pytest.raises(WorkbenchError, match=r"hashes\.json is damaged"):
        load(tmp_path)
    (tmp_path / "hashes.json").unlink()
    load(tmp_path)


def test_weights_that_are_no_numbers_are_refused(theirs, tmp_path):
    theirs.W_enc.data[1, 2] = float("nan")
    theirs.save_inference_model(tmp_path)
    with pytest.raises(WorkbenchError, match=r"W_enc holds NaN"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["sae.pt", "state_dict.pth", "autoencoder.pkl"])
def test_a_pickle_checkpoint_is_refused_unopened(tmp_path, name):
    (tmp_path / name).write_bytes(b"not even a pickle")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(WorkbenchError, match=r"pickle checkpoint.*save_inference_model"):
            load(path)


def test_damaged_and_foreign_folders_are_named(theirs, tmp_path):
    with pytest.raises(WorkbenchError, match=r"no SAE folder: it has no cfg\.json"):
        load(tmp_path / "nowhere")
    theirs.save_inference_model(tmp_path / "sae")
    config, weights = tmp_path / "sae" / "cfg.json", tmp_path / "sae" / "sae_weights.safetensors"
    whole, values = weights.read_bytes(), json.loads(config.read_text())
    weights.write_bytes(whole[:-3])
    with pytest.raises(WorkbenchError, match="not a whole safetensors file"):
        load(tmp_path / "sae")
    weights.write_bytes(whole)
    config.write_text(json.dumps({**values, "architecture": "topkk"}))
    with pytest.raises(WorkbenchError, match=r"Unknown architecture 'topkk'\. Did you mean 'topk'"):
        load(tmp_path / "sae")
    for wrong in ({"d_sae": 13}, {"d_sae": "many"}, {"k": None}, {"k": 100}, {"metadata": 5}, {"d_in": -5}):
        config.write_text(json.dumps({**values, **wrong}))
        with pytest.raises(WorkbenchError, match="does not hold what its cfg"):
            load(tmp_path / "sae")
    config.write_text("[]")
    with pytest.raises(WorkbenchError, match=r"cfg\.json should hold a JSON object"):
        load(tmp_path / "sae")


def test_an_sae_of_another_width_is_refused_with_the_site_it_was_made_for(theirs, tmp_path):
    theirs.save_inference_model(tmp_path / "sae")
    sae = load(tmp_path / "sae")
    check_width(sae, 5, "text.2")
    with pytest.raises(WorkbenchError, match=r"takes 5 channels but unet\.mid has 64.*Train one at that site"):
        check_width(sae, 64, "unet.mid")
    sae.cfg.metadata.hook_name = "text.1"
    with pytest.raises(WorkbenchError, match=r"trained at 'text\.1'"):
        check_width(sae, 64, "unet.mid")


def test_importing_the_package_loads_neither_torch_nor_sae_lens():
    loaded = "import sys; heavy = lambda: print([name in sys.modules for name in ('torch', 'sae_lens')])"
    light = "import saes, saes.errors, saes.progress, saes.disk; heavy()"
    middle = "saes.train, saes.load, saes.evaluate_sae; heavy()"  # torch, but not yet the seconds of sae-lens
    command = [sys.executable, "-c", f"{loaded}\n{light}\n{middle}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == ["[False, False]", "[True, False]"]
    assert "sae_lens" in sys.modules  # where it is loaded, this way of looking does see it


@pytest.mark.slow
def test_saving_works_beside_nnsight_which_gives_every_object_a_save(tmp_path):
    code = (
        "import nnsight, saes, torch; from sae_lens import TopKSAE, TopKSAEConfig; "
        "assert hasattr(object(), 'save'), 'nnsight does so no longer: saes.save may be lazy again'; "
        f"saes.save(TopKSAE(TopKSAEConfig(d_in=4, d_sae=8, k=2)), {str(tmp_path / 'sae')!r}, {{}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "sae" / "cfg.json").exists()
