"""What opens, and what is refused in a sentence before any weights are read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saes.errors import WorkbenchError
from tests.tiny_janus import BOI, PIXELS, TEMPLATE, save_tiny_janus
from workbench.models import Janus, load, loading, weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny_janus(tmp_path_factory.mktemp("saved") / "janus")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "janus"))


def change(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def change_part(folder, part, **entries):
    said = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", **{part: said[part] | entries})


def refused(folder, monkeypatch):
    """What `load` says; it must not have come to the weights."""
    monkeypatch.setattr(weights, "check_whole", lambda files: pytest.fail("it looked at the weights"))
    with pytest.raises(WorkbenchError) as found:
        load(folder, device="cpu")
    return str(found.value)


def test_a_folder_opens_with_its_defaults(saved):
    model = load(saved, device="cpu")
    assert isinstance(model, Janus) and model.kind == "janus" and model.folder == saved
    assert model.settings == {"guidance_scale": 3.0, "temperature": 1.0, "top_k": 0}
    assert model.image_size == PIXELS and not any(p.requires_grad for p in model.pipe.whole.parameters())
    assert load(saved, device="cpu").identity == model.identity
    assert load(saved, device="cpu", dtype=torch.bfloat16).generate("a fox", 1).any()


def test_another_template_is_another_identity_and_the_same_weights(folder):
    plain = load(folder, device="cpu")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    framed = load(folder, device="cpu")
    assert framed.fingerprint == plain.fingerprint and framed.identity.differences(plain.identity) == ["prompt layout"]
    assert len(framed.tokens("a fox")[0].ids) == len(plain.tokens("a fox")[0].ids) + 4


def test_a_template_in_the_file_of_older_processors_counts(folder):
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert load(folder, device="cpu").tokens("a fox")[0].words[1] == "<|User|>"


@pytest.mark.parametrize(
    ("part", "entries", "problem"),
    [
        ("vision_config", {"num_image_tokens": 9}, "says 9 tokens a picture, and 8 pixels in patches of 2 are 16"),
        ("vq_config", {"channel_multiplier": [1, 1, 1]}, "says pictures of 8 pixels, and its decoder makes 16"),
        ("vq_config", {"projection_dim": 64}, "says picture tokens of width 64, and its language model has 32"),
        ("text_config", {"max_position_embeddings": 18}, "max_position_embeddings 18, and a picture has 16 tokens"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(folder, monkeypatch, part, entries, problem):
    change_part(folder, part, **entries)
    assert problem in refused(folder, monkeypatch)


def test_a_part_of_a_model_and_another_model_are_refused(folder, monkeypatch):
    change(folder / "config.json", vq_config=None)
    assert "has no vq_config, so that no picture could be made" in refused(folder, monkeypatch)
    change(folder / "config.json", model_type="janus_vision_model")
    assert "is of the type 'janus_vision_model'" in refused(folder, monkeypatch)


def test_ids_that_nobody_knows_are_asked_for(folder, monkeypatch):
    for path in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        path.write_text(path.read_text().replace("<begin_of_image>", "<somewhere>"))
    assert "which id is the begin-of-image token. Set `boi_token_id` in" in refused(folder, monkeypatch)
    change(folder / "workbench.json", boi_token_id=5000)
    assert "says 5000, which the tokenizer lacks" in refused(folder, monkeypatch)
    change(folder / "workbench.json", boi_token_id=BOI)
    monkeypatch.undo()
    assert load(folder, device="cpu").tokens("a fox")[0].words[-1] == "<somewhere>"


def test_a_padding_token_is_asked_for(folder, monkeypatch):
    change(folder / "generation_config.json", pad_token_id=None)
    change(folder / "tokenizer_config.json", pad_token=None)
    assert "which id is the padding token. Set `pad_token_id` in" in refused(folder, monkeypatch)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ messages[0]['content'] + '!' }}", "fails"),
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "leaves the prompt out"),
        ("{% for", "fails"),
    ],
)
def test_a_chat_template_that_cannot_say_a_prompt_is_refused(folder, monkeypatch, template, problem):
    (folder / "chat_template.jinja").write_text(template)
    assert f"The chat template in {folder} {problem}" in refused(folder, monkeypatch)


def test_the_size_of_its_pictures_can_be_said_and_not_changed(folder, monkeypatch):
    change(folder / "workbench.json", image_size=PIXELS)
    load(folder, device="cpu")
    change(folder / "workbench.json", image_size=16)
    assert "image_size is 16. A Janus has one size: here 8" in refused(folder, monkeypatch)


def test_a_missing_tokenizer_and_an_unknown_setting_are_named(folder, monkeypatch):
    change(folder / "workbench.json", guidance=5.0)
    assert "'guidance'" in refused(folder, monkeypatch)
    (folder / "workbench.json").unlink()
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(folder, monkeypatch)


def test_weights_that_are_pickles_or_not_whole_are_refused(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: one for name, one in tensors.items() if "vqmodel" not in name}, path, metadata={"format": "pt"})
    with pytest.raises(WorkbenchError, match=r"lack model\.vqmodel"):
        load(folder, device="cpu")
    tensors["model.generation_head.proj_out.bias"][0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WorkbenchError, match=r"NaN or infinity, in model\.generation_head\.proj_out\.bias"):
        load(folder, device="cpu")
    path.rename(folder / "pytorch_model.bin")
    with pytest.raises(WorkbenchError, match=r"only as a pickle \(pytorch_model.bin\)"):
        load(folder, device="cpu")


def test_the_toy_opens_by_its_name_where_it_is(saved, monkeypatch):
    monkeypatch.setitem(loading.TOYS, "toy-janus", saved)
    assert load("toy-janus", device="cpu").kind == "janus"
    monkeypatch.setitem(loading.TOYS, "toy-janus", saved / "nowhere")
    with pytest.raises(WorkbenchError, match="Unknown model 'toy-janus'"):
        load("toy-janus")


def test_loading_prints_nothing(saved, capfd):
    load(saved, device="cpu")
    assert capfd.readouterr() == ("", "")
