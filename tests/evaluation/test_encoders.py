"""CLIP and SigLIP from a folder: the numbers are transformers' own; what could run code or is not whole is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, SiglipModel

from saes.errors import WorkbenchError
from tests.tiny_encoders import SAVE
from workbench.evaluation.encoders import Encoder

TEXTS = ["a photo of a fox", "a red cat", "a dog by a bear"]


@pytest.fixture(params=SAVE)
def folder(request, tmp_path: Path) -> Path:
    return SAVE[request.param](tmp_path / request.param)


def pictures(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 48, 40, 3), dtype=np.uint8)


def test_a_pair_is_read_as_transformers_reads_it(folder: Path) -> None:
    encoder = Encoder.open(folder)
    kind, padding = {"clip": (CLIPModel, True), "siglip": (SiglipModel, "max_length")}[folder.name]
    model = kind.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=padding, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(folder)(images=list(pictures()), return_tensors="pt").pixel_values
    mask = {"attention_mask": words.attention_mask} if folder.name == "clip" else {}
    with torch.no_grad():
        told = model(input_ids=words.input_ids, pixel_values=pixels, **mask).logits_per_image.numpy()
    seen, read = encoder.pictures(pictures()), encoder.texts(TEXTS)
    np.testing.assert_allclose(encoder.scale * seen @ read.T + encoder.bias, told, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, rtol=1e-5)
    assert told.std() > 1e-3, "there is something to compare"


def test_a_text_that_is_too_long_is_cut(folder: Path) -> None:
    long = "a red fox " * 40
    assert np.isfinite(Encoder.open(folder).texts([long])).all()


def test_the_digest_is_that_of_all_that_decides_the_numbers(folder: Path) -> None:
    before = Encoder.open(folder).digest
    assert before == Encoder.open(folder).digest
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if weights[name].ndim == 2)
    weights[name][0, 0] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    changed = Encoder.open(folder).digest
    assert changed != before
    sizes = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**sizes, "image_mean": [0.1, 0.2, 0.3]}))
    assert Encoder.open(folder).digest != changed


def test_what_is_no_encoder_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="it has no config"):
        Encoder.open(tmp_path)
    with pytest.raises(WorkbenchError, match="neither a folder nor a model that could be downloaded"):
        Encoder.open("nobody/nothing")
    config = json.loads((folder / "config.json").read_text())
    for change, says in (
        ({"model_type": "clipp"}, "Did you mean 'clip'"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "code"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(WorkbenchError, match=says):
            Encoder.open(folder)


@pytest.mark.parametrize("damage", ["truncated", "lacking", "pickle"])
def test_weights_that_are_not_whole_are_refused(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "lacking":
        weights = load_file(path)
        del weights[next(iter(weights))]
        save_file(weights, path, {"format": "pt"})
    else:
        path.rename(folder / "pytorch_model.bin")
    says = {"truncated": "not a whole safetensors file", "lacking": "lack", "pickle": "pickle"}[damage]
    with pytest.raises(WorkbenchError, match=says):
        Encoder.open(folder)
