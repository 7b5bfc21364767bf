"""What ships: files whose hashes the card names, a judge that can be trusted, a model that shows what it is asked."""

import json

import numpy as np
import pytest
import torch

import workbench as wb
from saes.disk import sha256_of
from workbench import toy
from workbench.toy.oracle import ATTRIBUTES, KINDS, LOCAL
from workbench.toy.recipe.autoencoder import pixels
from workbench.toy.recipe.judging import accuracies, broken, labelled, passes
from workbench.toy.report import FLOORS, check, figures, questions

WEIGHTS = toy.path().parent
CARD = json.loads((WEIGHTS / "figures.json").read_text())


def test_the_card_names_every_weight_file_and_its_hash():
    shipped = {str(path.relative_to(WEIGHTS)): sha256_of(path) for path in WEIGHTS.rglob("*.safetensors")}
    assert shipped == CARD["sha256"]


def test_the_saes_hold_the_hashes_of_their_tensors():
    for folder in (WEIGHTS / "saes").iterdir():
        hashes = {path.name: sha256_of(path) for path in folder.glob("*.safetensors")}
        assert json.loads((folder / "hashes.json").read_text()) == hashes, folder


def test_the_weights_are_small_enough_to_ship():
    sizes = [path.stat().st_size for path in (WEIGHTS / "pipeline").rglob("*.safetensors")]
    assert sum(sizes) < 25e6
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 40e6


def test_the_pipeline_opens_with_plain_diffusers_in_its_own_classes():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(toy.path())
    names = {type(part).__name__ for part in (pipe.vae, pipe.text_encoder, pipe.tokenizer, pipe.unet)}
    assert names == {"AutoencoderKL", "CLIPTextModel", "CLIPTokenizer", "UNet2DConditionModel"}
    assert pipe.scheduler.config.beta_schedule == "scaled_linear"


@pytest.fixture(scope="module")
def oracle():
    return toy.Oracle.load()


@pytest.fixture(scope="module")
def fresh():
    return labelled(500, 7000, unknown=0.0)


def test_the_oracle_judges_fresh_renders(oracle, fresh):
    for row in accuracies(oracle, fresh, fresh.images, "fresh"):
        if row["low"] is not None:
            floor = 0.97 if row["factor"] in ATTRIBUTES else 0.99  # perceived gender is at 98 % and is reported so
            assert row["high"] >= floor and row["value"] > floor - 0.03, row


def test_broken_pictures_pass_as_nothing_and_the_same_whole_are_known(oracle, fresh):
    generator = torch.Generator().manual_seed(0)
    whole = pixels(fresh.images.numpy())
    bad = broken(whole, torch.randn(whole.shape, generator=generator).clamp(-1, 1), generator)
    images = bad.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    kinds = list(set(KINDS.values()))
    assert passes(oracle, oracle.judge(images.numpy()), kinds).mean() < 0.05
    assert passes(oracle, oracle.judge(fresh.images.numpy()), kinds).mean() > 0.9


def test_judging_does_not_depend_on_the_batch(oracle, fresh):
    images = fresh.images.numpy()[:20]
    alone = np.concatenate([oracle.judge(images[i : i + 1]).present for i in range(20)])
    assert np.abs(alone - oracle.judge(images).present).max() < 1e-4


def test_check_compares_each_picture_with_its_own_scene(oracle):
    """On renders of the scenes themselves all is well; on renders of the scenes in another order it is not."""
    from dataclasses import replace

    from workbench.toy.render import render

    asked = [one for one in questions(30) if one.group in ("plain", "pair")]
    images = np.stack([render(replace(one.scene, seed=i)).image for i, one in enumerate(asked)])
    right = check(asked, oracle.judge(images), oracle.threshold)
    wrong = check(asked, oracle.judge(np.roll(images, 7, axis=0)), oracle.threshold)
    assert right.object.mean() > 0.9 and wrong.object.mean() < 0.4
    assert right.colour.mean() > 0.9 and wrong.colour.mean() < 0.6
    assert LOCAL[-1] == "person"


def test_the_report_asks_for_at_least_500_combinations_that_training_never_shows():
    from workbench.toy.captions import combination_of, split_of

    held = [one for one in questions(150) if split_of(combination_of(one.scene)) == "held_out"]
    assert len(held) >= 500 and FLOORS.keys() <= {row["factor"] for row in CARD["model"]}


@pytest.mark.slow
def test_the_figures_of_the_card_are_found_again_on_other_prompts(oracle):
    """Fresh prompts and seeds; each rate within the intervals of both measurements, widened once."""
    rows, _ = figures(wb.load("toy"), oracle, n=60, seed=1)
    card = {row["factor"]: row for row in CARD["model"]}
    for row in rows:
        wide = card[row["factor"]]["high"] - card[row["factor"]]["low"]
        assert row["high"] + wide >= card[row["factor"]]["low"], row
        assert row["low"] - wide <= card[row["factor"]]["high"], row
