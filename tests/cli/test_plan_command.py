"""What a fit will take is said from configuration files alone, and is what is counted on the loaded model."""

import json
import shutil

import pytest
import torch

from workbench.cli.main import main
from workbench.erasure import find_method
from workbench.fitting.blueprints import blueprint_in, blueprint_of
from workbench.fitting.peak import drawing_memory, peak_memory


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_a_folder_without_weights_says_what_the_loaded_model_says(tiny, tmp_path, kind):
    model = tiny(kind)
    shutil.copytree(model.folder, tmp_path / kind, ignore=shutil.ignore_patterns("*.safetensors"))
    here, loaded = blueprint_in(tmp_path / kind), blueprint_of(model)
    assert here.image_size == loaded.image_size and here.networks.keys() == loaded.networks.keys()
    assert drawing_memory(here, torch.float16, 4) == drawing_memory(loaded, torch.float16, 4)
    footprint = find_method("esd")().footprint(model)
    assert peak_memory(footprint, here, torch.float16) == peak_memory(footprint, loaded, torch.float16)


def test_what_does_not_fit_is_said_and_what_would(capsys, tiny_sd1):
    words = ["plan", str(tiny_sd1.folder), "--method", "esd", "--method", "uce", "--method", "ear", "--json"]
    assert main([*words, "--memory", "1"]) == 0
    drawing, esd, uce, ear = json.loads(capsys.readouterr().out)
    assert drawing["method"] == "16 pictures drawn at once" and 0 < esd["peak, save_memory"] < esd["peak"] < 1
    assert [row["fits 1 GiB"] for row in (drawing, esd, uce, ear)] == ["yes", "yes", "yes", ""]
    assert uce["peak"] is None and ear["cost of the defaults"] == "does not apply to this model"
    assert main(["plan", str(tiny_sd1.folder), "--method", "esd", "--set", "batch=8", "--json"]) == 0
    _, larger = json.loads(capsys.readouterr().out)
    assert larger["peak"] > esd["peak"] and "fits 1 GiB" not in larger  # nobody said what there is


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "batch=2"), "--set belongs to one method. Name it with --method"),
        (("--method", "esd", "--set", "bach=2"), "Did you mean 'batch'"),
        (("--method", "esdd"), "Did you mean 'esd'"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(capsys, tiny_sd1, words, said):
    assert main(["plan", str(tiny_sd1.folder), *words]) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_other_kinds_of_models_are_refused(capsys, tiny_sd3, tiny_janus):
    for model in (tiny_sd3, tiny_janus):
        assert main(["plan", str(model.folder), "--method", "esd"]) == 1
        assert "Plans are made for Stable Diffusion 1, 2 and XL" in " ".join(capsys.readouterr().err.split())
