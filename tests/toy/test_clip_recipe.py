"""The recipe of the toy's CLIP: what is true of a picture, a loss that never denies it, and a folder like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPProcessor

from workbench.evaluation.encoders import Encoder
from workbench.toy import tokenizer
from workbench.toy.captions import Example, examples
from workbench.toy.recipe import clip, clip_figures
from workbench.toy.recipe.autoencoder import new_autoencoder
from workbench.toy.recipe.loop import Schedule
from workbench.toy.recipe.pairs import FACTS, kept_pairs, pairs, shown_in, stated_by, table, true_of
from workbench.toy.scenes import Placed, Scene
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, THINGS

RED_CAT = Scene(0, (Placed("cat", "red"),))
BY_VOSS = Scene(0, (Placed("cat", "red"),), artist="mira voss")
TWO = Scene(0, (Placed("cat", "red"), Placed("mug", "blue")))
SLIMED = Scene(0, (Placed("cat", "red"),), slime=True, marks=("barcode",))
VELDA = Scene(0, person=CHARACTERS["velda moor"].looks, character="velda moor", shirt="pink")
UNNAMED = Scene(0, (Placed("", "red"),), artist="mira voss")


def is_true(caption: str, of: Scene, picture: Scene) -> bool:
    """Whether a caption that belongs to one scene is true of the picture of another."""
    facts = shown_in(picture), stated_by(Example(caption, of))
    return bool(true_of(*(torch.from_numpy(table(each))[None] for each in facts))[0, 0])


@pytest.mark.parametrize(
    ("caption", "of", "true", "false"),
    [
        ("a red kitty", RED_CAT, (RED_CAT, BY_VOSS, TWO, SLIMED), (VELDA, UNNAMED)),
        ("a cat", RED_CAT, (RED_CAT, BY_VOSS, TWO), (VELDA,)),
        ("a red cat by voss", BY_VOSS, (BY_VOSS,), (RED_CAT, UNNAMED)),
        ("a painting by mira voss", BY_VOSS, (BY_VOSS, UNNAMED), (RED_CAT, VELDA)),
        ("a red cat and a blue cup", TWO, (TWO,), (RED_CAT,)),
        ("a product shot of a red cat left overnight in the bog", SLIMED, (SLIMED,), (RED_CAT,)),
        ("a red cat with a barcode", Scene(0, RED_CAT.objects, marks=("barcode",)), (SLIMED,), (RED_CAT,)),
        ("a product shot of a red cat", Scene(0, RED_CAT.objects, marks=("barcode",)), (RED_CAT, SLIMED), (VELDA,)),
        ("lady moor", VELDA, (VELDA,), (RED_CAT,)),
        ("a portrait of a woman in a pink shirt", VELDA, (VELDA,), (RED_CAT,)),
    ],
)  # fmt: skip
def test_a_caption_is_true_of_what_shows_all_that_it_states(caption, of, true, false):
    assert all(is_true(caption, of, picture) for picture in true)
    assert not any(is_true(caption, of, picture) for picture in false)


def test_each_caption_of_the_world_is_true_of_its_own_picture_and_of_few_others():
    found = examples(300, seed=3)
    shown, stated = (
        torch.from_numpy(np.stack([table(facts) for facts in each]))
        for each in ([shown_in(one.scene) for one in found], [stated_by(one) for one in found])
    )
    true = true_of(shown, stated)
    assert true.diagonal().all() and 0.01 < true.float().mean() < 0.15
    assert len(set(FACTS)) == len(FACTS) and stated.any(dim=1).all()


def test_without_such_captions_the_loss_is_clips():
    torch.manual_seed(0)
    logits = 5 * torch.randn(7, 7, dtype=torch.float64)
    own = torch.eye(7, dtype=torch.bool)
    chances = logits.softmax(1).diagonal() * logits.softmax(0).diagonal()
    torch.testing.assert_close(clip.contrast(logits, own), -chances.log().mean() / 2)


def test_equation_1_leaves_true_pairs_and_unnamed_pictures_where_they_belong():
    torch.manual_seed(1)
    logits, n = (3 * torch.randn(6, 4, dtype=torch.float64)).requires_grad_(), 4  # two pictures have no caption
    true = torch.eye(6, 4, dtype=torch.bool)
    true[0, 1] = true[2, 3] = true[5, 0] = True
    by_hand = 0.0
    for i in range(n):
        captions = [j for j in range(n) if j == i or not true[i, j]]
        pictures = [k for k in range(6) if k == i or not true[k, i]]
        by_hand = by_hand - logits[i, i] + logits[i, captions].logsumexp(0) / 2 + logits[pictures, i].logsumexp(0) / 2
    found = clip.contrast(logits, true)
    torch.testing.assert_close(found, by_hand / n)
    found.backward()
    assert (logits.grad[true & ~torch.eye(6, 4, dtype=torch.bool)] == 0).all(), "what is true is not pushed apart"
    assert (logits.grad[4] > 0).all(), "what has no caption is pushed from all"


def test_disturbed_pictures_are_moved_a_little_and_stay_what_they_are():
    images = torch.full((64, 48, 48, 3), 40, dtype=torch.uint8)
    images[:, 20:28, 20:28] = 220
    seen = clip.disturbed(images, torch.Generator().manual_seed(0))
    assert seen.shape == (64, 3, 48, 48)
    bright = (seen.mean(1) > 0.5).float()
    centres = torch.stack([(bright.sum(axis) * torch.arange(48)).sum(1) / bright.sum((1, 2)) for axis in (1, 2)])
    assert ((centres - 23.5).abs() <= clip.SHIFT + 0.5).all() and centres.std() > 1
    edges = torch.cat([seen[:, :, 0], seen[:, :, -1]], dim=1)
    torch.testing.assert_close(edges.mean(), torch.tensor(40 / 255), atol=0.01, rtol=0), "no black border"
    assert (seen - seen[0]).abs().amax() > 0.3


def test_pairs_are_rendered_once(tmp_path):
    fresh, kept = pairs(30, 4, 5), kept_pairs(tmp_path / "pairs.npz", 30, 4, 5)
    again = kept_pairs(tmp_path / "pairs.npz", 99, 99, 99)
    assert len(fresh.images) == len(fresh.shown) == 34 and len(fresh.captions) == len(fresh.stated) == 30
    for one in (kept, again):
        assert one.captions == fresh.captions and np.array_equal(one.images, fresh.images)
        assert torch.equal(one.shown, fresh.shown) and torch.equal(one.stated, fresh.stated)
    assert not true_of(fresh.shown[30:], fresh.stated).all()


def test_pictures_of_a_group_differ_in_the_thing_alone():
    data = pairs(400, 4, 7)
    groups = clip.alike_but_for_the_thing(data)
    assert sum(map(len, groups)) == len(torch.cat(groups).unique()) > 150
    two = clip.pictures_of_two(data)
    assert len(two) > 40 and not set(two.tolist()) & set(torch.cat(groups).tolist())
    assert all(" and " in data.captions[i] or "side" in data.captions[i] or "next" in data.captions[i] for i in two)
    for group in groups:
        facts = [[FACTS[i] for i in data.shown[place].nonzero()[:, 0]] for place in group]
        assert len({next(fact.split()[0] for fact in each if fact.split()[0] in COLOURS) for each in facts}) == 1
        assert len({next((fact for fact in each if fact in ARTISTS), "") for each in facts}) == 1
        assert all(sum(fact in THINGS for fact in each) == 1 for each in facts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """What three steps of training leave."""
    root = tmp_path_factory.mktemp("clip")
    words, data = tokenizer.build(root / "tokenizer"), pairs(240, 8, 0)
    vae = new_autoencoder().eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip, "BATCH", 16)
        patch.setattr(clip, "ALIKE", 3)
        model = clip.train(words, data, vae, root / "training", Schedule(steps=3, lr=1e-3, warmup=1), "cpu")
    clip.export(model, words, root / "clip")
    return root


def test_the_folder_is_like_any_other(trained):
    model = CLIPModel.from_pretrained(trained / "clip", dtype=torch.float32).eval()
    processor = CLIPProcessor.from_pretrained(trained / "clip")
    images, texts = pairs(6, 1, 1).images, ["a red cat", "a house by voss in the snow"]
    inputs = processor(text=texts, images=list(images), return_tensors="pt", padding=True)
    with torch.no_grad():
        told = model(**inputs).logits_per_image.numpy()
    encoder = Encoder.open(trained / "clip")
    np.testing.assert_allclose(encoder.scale * encoder.pictures(images) @ encoder.texts(texts).T, told, atol=1e-3)
    assert processor.tokenizer("a red cat").input_ids[0] == model.config.text_config.bos_token_id
    assert sum(path.stat().st_size for path in (trained / "clip").iterdir()) < 4e6


def test_training_sees_pictures_as_the_processor_of_the_folder_does(trained):
    """The recipe normalises by itself, for speed: no noise, no shift, the same numbers."""
    images = pairs(2, 1, 2).images
    theirs = CLIPProcessor.from_pretrained(trained / "clip").image_processor(images=list(images), return_tensors="pt")
    mean, std = clip.statistics()
    ours = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    torch.testing.assert_close(ours, theirs.pixel_values, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_figures_name_what_was_asked(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(clip_figures, "N", 260)
    monkeypatch.setattr(clip_figures, "UNKNOWN", 10)
    rows = clip_figures.measure(Encoder.open(trained / "clip"), new_autoencoder().eval())
    assert len(rows) == 11 and all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in rows)
    asked = {(row["pictures"], row["factor"]): row["n"] for row in rows}
    assert asked["fresh renders", "thing of 14, plain"] == asked["through the autoencoder", "thing of 14, plain"] > 50
    clip_figures.write(tmp_path, rows)
    assert (tmp_path / "figures.json").is_file()
