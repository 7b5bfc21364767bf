"""`--lora`, `--scheduler`, `--vae`, `--config-from`: commands that load a model have them, and file under them."""

import ast
import json
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from tests.ldm_names import save_as_ldm
from workbench.cli import opening
from workbench.cli.main import main
from workbench.edits import load_edit
from workbench.models import load

QUERY = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
CLI = Path(opening.__file__).parent


def ran(*words):
    assert main([str(word) for word in words]) == 0


@pytest.fixture
def lora(tmp_path):
    draw = torch.Generator().manual_seed(0)
    tensors = {f"{QUERY}.lora_{factor}.weight": torch.randn(2, 8, generator=draw) for factor in "A"}
    tensors[f"{QUERY}.lora_B.weight"] = torch.randn(8, 2, generator=draw)
    save_file(tensors, tmp_path / "lora.safetensors", metadata={"format": "pt"})
    return tmp_path / "lora.safetensors"


def test_no_command_loads_a_model_without_these_options():
    loading = {path.stem for path in CLI.glob("*.py") if "wb.load(" in path.read_text()}
    assert loading == {"opening", "toy"}  # the toy's own commands load what is shipped
    for path in CLI.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        calls = {one.id for one in names if isinstance(one, ast.Name)}
        decorated = [one for node in tree.body if isinstance(node, ast.FunctionDef) for one in node.decorator_list]
        if "opened" in calls:
            assert any(isinstance(one, ast.Name) and one.id == "loads_a_model" for one in decorated), path.stem


def test_pictures_are_filed_under_lora_and_scheduler(made, tmp_path, lora, capsys):
    words = ("generate", made / "model", "a photo of a fox", "--count", "1", "--out", tmp_path / "images")
    chosen = ("--lora", f"{lora}=0.5", "--scheduler", "DDIMScheduler")
    ran(*words, *chosen)
    record = json.loads((tmp_path / "images/pictures.json").read_text())
    expected = load(made / "model", device="cpu", lora={str(lora): 0.5}, scheduler="DDIMScheduler")
    assert record["weights"] == expected.fingerprint and record["parts"] == dict(expected.identity.parts)
    ran(*words, *chosen)  # goes on
    assert main([str(word) for word in words]) == 1
    assert "pictures made with other weights" in capsys.readouterr().err


def test_an_edit_belongs_to_the_model_with_its_lora(made, tmp_path, lora, capsys):
    ran("erase", made / "model", made / "fox.yaml", "--method", "uce", "--lora", lora, "--out", tmp_path / "edit")
    assert f"workbench evaluate {made / 'model'} {made / 'fox.yaml'} --lora {lora} --edit" in capsys.readouterr().out
    model = load(made / "model", device="cpu", lora=lora)
    assert load_edit(tmp_path / "edit").base_fingerprint == model.fingerprint
    ran("edits", "show", tmp_path / "edit", "--model", made / "model", "--lora", lora)
    assert main(["edits", "show", str(tmp_path / "edit"), "--lora", str(lora)]) == 1
    assert "belongs to a model, and none is named" in capsys.readouterr().err


def test_a_single_file_is_generated_from_with_the_configuration_of_a_folder(made, tmp_path):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(made / "model", safety_checker=None)
    file = save_as_ldm(pipe, tmp_path / "model.safetensors")
    for number, model in enumerate([(file, "--config-from", made / "model"), (made / "model",)]):
        ran("generate", model[0], "a photo of a fox", "--count", "1", "--out", tmp_path / str(number), *model[1:])
    one, other = (tmp_path / f"{number}/000-0.png" for number in (0, 1))
    assert one.read_bytes() == other.read_bytes()


def test_a_configuration_file_may_say_them(made, tmp_path, lora):
    (tmp_path / "run.yaml").write_text(f"lora: ['{lora}']\nscheduler: DDIMScheduler\n")
    words = ("generate", made / "model", "a fox", "--count", "1", "--out", tmp_path / "images")
    ran(*words, "--config", tmp_path / "run.yaml")
    record = json.loads((tmp_path / "images/pictures.json").read_text())
    assert record["weights"] == load(made / "model", device="cpu", lora=lora).fingerprint
