"""The recipe of the toy's image encoder and adapter: what they start from, what stays frozen, what ships."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import CLIPTextModel

import workbench as wb
from saes.disk import sha256_of
from workbench import toy
from workbench.models.diffusion.image_prompt import ImagePrompt, cross_attentions
from workbench.shipped import ADAPTER, adapter_path
from workbench.toy.captions import examples
from workbench.toy.recipe import image_adapter, image_figures
from workbench.toy.recipe.diffusion import new_unet, tokens
from workbench.toy.recipe.loop import Schedule
from workbench.toy.render import render

HOME = adapter_path(ADAPTER)
RNG = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def made():
    held_out = examples(24, seed=3, split="held_out")
    return [one.caption for one in held_out], np.stack([render(one.scene).image for one in held_out])


@pytest.fixture(scope="module")
def text_encoder():
    return CLIPTextModel.from_pretrained(toy.path() / "text_encoder").float().eval()


@pytest.fixture(scope="module")
def tokenizer():
    return wb.load("toy").pipe.tokenizer


def test_scores_are_cosines_times_a_learnt_scale(made):
    matching = image_adapter.Matching(text_width=16).eval()
    captions = torch.randn(24, 16, generator=RNG)
    with torch.no_grad():
        pixels = image_adapter.pixel_values(made[1])
        scores, guess = matching(pixels, captions)
        pictures, words = matching.encoder(pixels).image_embeds, captions @ matching.words.weight.T
    expected = [[float(F.cosine_similarity(one, word, dim=0)) / 0.07 for word in words] for one in pictures]
    assert_close(scores, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert guess.shape == (24, 36, 128)  # a place of the classifier's 6×6 map for each patch


def test_each_caption_is_read_once_and_at_its_end(text_encoder, tokenizer):
    ids = tokens(tokenizer, ["a fox", "a red house", "a fox"])
    rows = image_adapter.caption_rows(text_encoder, ids)
    with torch.no_grad():
        hidden = text_encoder(ids)[0]
    ends = (ids == tokenizer.eos_token_id).int().argmax(1)
    assert_close(rows, hidden[range(3), ends])
    assert torch.equal(rows[0], rows[2]) and not torch.allclose(rows[0], rows[1])


def test_the_adapter_starts_from_the_captions_own_rows_where_pictures_tell_them():
    """Rows that are a linear map of the embeddings, up to the norm that ends the projection, are met."""
    unet, embeds = new_unet(), torch.randn(400, 20, generator=RNG)
    rows = F.layer_norm((embeds @ torch.randn(20, 4 * 256, generator=RNG)).unflatten(1, (4, 256)), (256,))
    adapter = image_adapter.new_adapter(unet, embeds, rows)
    with torch.no_grad():
        error = (adapter.projection(embeds) - rows).square().mean()
    assert error < 0.1 * rows.var()
    for image, attention in zip(adapter.attention, cross_attentions(unet), strict=True):
        assert torch.equal(image.to_k_ip[0].weight, attention.to_k.weight)
        assert torch.equal(image.to_v_ip[0].weight, attention.to_v.weight)


def test_training_the_adapter_changes_nothing_else(made, text_encoder, tokenizer, tmp_path):
    unet, encoder = new_unet(), image_adapter.new_encoder()
    frozen = [{name: one.clone() for name, one in part.state_dict().items()} for part in (unet, encoder)]
    ids, latents = tokens(tokenizer, made[0]), torch.randn(24, 4, 12, 12, generator=RNG)
    trained = image_adapter.train_adapter(
        unet, text_encoder, encoder, made[1], ids, tokens(tokenizer, [""]), latents, torch.zeros_like(latents),
        tmp_path, Schedule(steps=2, lr=1e-2, warmup=1, ema=0.0), "cpu",
    )  # fmt: skip
    for part, before in zip((unet, encoder), frozen, strict=True):
        assert list(part.state_dict()) == list(before)  # the adapter is off again
        assert all(torch.equal(one, before[name]) for name, one in part.state_dict().items())
    first, attention = trained.attention[0], cross_attentions(unet)[0]
    assert not torch.equal(first.to_v_ip[0].weight, attention.to_v.weight)


def test_what_ships_is_small_whole_and_named_by_its_figures():
    files = [path for path in HOME.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    hashes = json.loads((HOME / "figures.json").read_text())["sha256"]
    assert hashes == {str(path.relative_to(HOME)): sha256_of(path) for path in files if path.suffix == ".safetensors"}


def test_the_shipped_adapter_moves_what_the_toy_sees(made):
    model = wb.load("toy")
    prompter = ImagePrompt.open(ADAPTER, model)
    r, x, text = prompter.tokens(made[1][:2]), model.noise([0]), model.encode("")
    with prompter.attached(model) as beside:
        plain, one, other = (beside.noise_prediction(x, 900, text, image) for image in (None, r[:1], r[1:]))
    assert (one - plain).abs().mean() > 0.01 and (one - other).abs().mean() > 0.001


def test_figures_count_hits_against_a_relative_and_nothing():
    rows = {row["factor"]: row for row in json.loads((HOME / "figures.json").read_text())["measured"]}
    for what in ("things", "artists"):
        own = rows[f"{what}: with its picture"]
        for control in ("with its relative's picture", "with no picture"):
            assert own["low"] > rows[f"{what}: {control}"]["high"]


@pytest.mark.slow
def test_a_picture_carries_its_artist_into_new_pictures():
    rows = image_figures.carried(wb.load("toy"), HOME, toy.Oracle.load())
    stated = {row["factor"]: row for row in json.loads((HOME / "figures.json").read_text())["measured"]}
    for row in rows:
        assert stated[row["factor"]]["low"] - 0.05 <= row["value"] <= stated[row["factor"]]["high"] + 0.05, row
