"""Configurations as people write them: pairs, nothing, no limit; and networks that have less than others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_pipelines import CLIP_LENGTH, save_tiny, sd1, unet
from workbench.models import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny pipeline that does not say its defaults."""
    made = save_tiny("sd1", tmp_path / "sd1")
    (made / "workbench.json").unlink()
    return made


def change(path: Path, do: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads(path.read_text())
    do(config)
    path.write_text(json.dumps(config))


def test_a_size_may_be_a_pair_of_equal_sides(folder: Path) -> None:
    assert load(folder, device="cpu").image_size == 32
    change(folder / "unet" / "config.json", lambda config: config.update(sample_size=[16, 16]))
    model = load(folder, device="cpu")
    assert model.image_size == 32
    assert model.generate("a fox", 1, steps=1).shape == (1, 32, 32, 3)


@pytest.mark.parametrize(
    ("size", "problem"), [([16, 24], "made for pictures of 32 × 48, and pictures are squares"), (None, "does not say")]
)
def test_another_size_is_refused_unless_the_folder_says_one(size: object, problem: str, folder: Path) -> None:
    change(folder / "unet" / "config.json", lambda config: config.update(sample_size=size))
    with pytest.raises(WorkbenchError, match=rf"{problem}.*workbench\.json"):
        load(folder, device="cpu")
    (folder / "workbench.json").write_text(json.dumps({"steps": 1, "guidance_scale": 7.5, "image_size": 32}))
    assert load(folder, device="cpu").generate("a fox", 1).shape == (1, 32, 32, 3)


def test_a_tokenizer_without_a_limit_has_that_of_its_encoder(folder: Path) -> None:
    before = load(folder, device="cpu").encode("a fox").embeddings
    change(folder / "tokenizer" / "tokenizer_config.json", lambda config: config.pop("model_max_length"))
    model = load(folder, device="cpu")
    assert model.pipe.tokenizer.model_max_length == CLIP_LENGTH
    assert torch.equal(model.encode("a fox").embeddings, before)


def test_a_unet_without_a_middle_block_has_all_other_sites(tmp_path: Path) -> None:
    pipe = sd1()
    pipe.register_modules(unet=unet(mid_block_type=None))
    pipe.save_pretrained(tmp_path / "small")
    model = load(tmp_path / "small", device="cpu")
    assert {alias.split(".")[1] for alias in model.sites() if alias.startswith("unet.")} == {"down", "up", "out"}
    with model.session(record=list(model.sites())) as session:
        model.generate("a fox", 1, steps=1)
    assert all(session.records.values())


def test_a_tiny_autoencoder_encodes_and_decodes(tmp_path: Path) -> None:
    pipe = sd1()
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    depths = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    pipe.register_modules(vae=diffusers.AutoencoderTiny(**widths, **depths))
    pipe.save_pretrained(tmp_path / "taesd")
    model = load(tmp_path / "taesd", device="cpu")
    images = model.generate("a fox", 1, steps=1)
    latents = model.latents(images)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(latents, model.pipe.vae.encode(pixels).latents)
    assert model.images(latents).shape == images.shape
    assert np.isfinite(latents.numpy()).all()
