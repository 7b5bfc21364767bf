"""Prompts as text, as token ids and as token embeddings are one prompt, and gradients reach the embeddings."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.models import TokenEmbeddings, TokenIds

KINDS = ("sd1", "sd2", "sdxl", "sd3", "flux")
TEXTS = ["a fox", "a red dog"]


@pytest.mark.parametrize("kind", KINDS)
def test_text_ids_and_embeddings_encode_alike(tiny, kind):
    model = tiny(kind)
    text = model.encode(TEXTS)
    for same in (model.token_ids(TEXTS), model.token_embeddings(TEXTS)):
        encoded = model.encode(same)
        assert_close(encoded.embeddings, text.embeddings)
        if text.pooled is not None:
            assert_close(encoded.pooled, text.pooled)
    assert text.prompts == model.encode(model.token_ids(TEXTS)).prompts == tuple(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_other_embeddings_are_another_prompt_and_leave_nothing_behind(tiny, kind):
    model = tiny(kind)
    before = model.encode(TEXTS).embeddings
    given = model.token_embeddings(TEXTS)
    moved = TokenEmbeddings(given.ids, tuple(one + 0.5 for one in given.embeddings))
    assert not torch.allclose(model.encode(moved).embeddings, before)
    assert model.encode(moved).prompts is None, "no text says what these are"
    assert torch.equal(model.encode(TEXTS).embeddings, before)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_embeddings_from_the_prediction(tiny, kind):
    model = tiny(kind)
    given = model.token_embeddings(TEXTS[:1])
    leaves = tuple(one.clone().requires_grad_() for one in given.embeddings)
    predicted = model.noise_prediction(model.noise([3]), 500, model.encode(TokenEmbeddings(given.ids, leaves)))
    direction = torch.randn(predicted.shape, generator=torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad((predicted * direction).sum(), leaves, allow_unused=True)
    assert all(one is not None and one.abs().sum() > 0 for one in gradients)


def test_a_gradient_is_the_slope(tiny_sd1):
    """Against central differences, in float64."""
    model = tiny_sd1
    given = model.token_embeddings("a fox")
    leaf = given.embeddings[0].clone().requires_grad_()
    latents = model.noise([3])

    def value(rows):
        encoded = model.encode(TokenEmbeddings(given.ids, (rows,)))
        return model.noise_prediction(latents, 500, encoded).double().pow(2).sum()

    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    step = torch.zeros_like(leaf)
    step[0, 2] = torch.randn(leaf.shape[-1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        slope = (value(leaf + 0.01 * step) - value(leaf - 0.01 * step)) / 0.02
    assert_close(float((gradient * step).sum()), float(slope), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "flux"])
def test_pictures_of_ids_and_embeddings_are_those_of_the_text(tiny, kind):
    model = tiny(kind)
    text = model.generate(TEXTS, [1, 2], steps=2)
    for same in (model.token_ids(TEXTS), model.token_embeddings(TEXTS)):
        np.testing.assert_allclose(model.generate(same, [1, 2], steps=2).astype(int), text.astype(int), atol=1)
    one = model.generate(model.token_ids(TEXTS[0]), [1, 5], steps=2, batch_size=1)
    np.testing.assert_allclose(one[0].astype(int), text[0].astype(int), atol=1)


def test_a_site_reads_and_edits_what_the_token_table_looks_up(tiny_sd1):
    given = tiny_sd1.token_embeddings(TEXTS)
    with tiny_sd1.session(record=["text.in"]) as session:
        tiny_sd1.encode(TEXTS)
        tiny_sd1.encode(TokenEmbeddings(given.ids, (2 * given.embeddings[0],)))
    (clock, plain), (again, doubled) = session.records["text.in"]
    assert_close(plain, given.embeddings[0])
    assert_close(doubled, 2 * given.embeddings[0])
    assert torch.equal(clock.token_ids, again.token_ids)


def test_ids_that_no_text_gives_have_no_text(tiny_sd1):
    ids = tiny_sd1.token_ids("a fox").ids[0].clone()
    ids[0, 1] = tiny_sd1.pipe.tokenizer.bos_token_id
    assert tiny_sd1.encode(TokenIds((ids,))).prompts is None


def test_each_row_of_ids_has_its_own_text_whatever_the_others_have(tiny_sd1):
    ids = tiny_sd1.token_ids(["a fox", "a cat"]).ids[0].clone()
    ids[0, 1] = tiny_sd1.pipe.tokenizer.bos_token_id
    assert tiny_sd1.encode(TokenIds((ids,))).prompts == (None, "a cat")
    assert tiny_sd1.texts(TokenIds((ids,))) == [None, "a cat"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda ids: TokenIds((ids, ids)), "1 tokenizers, and ids are given for 2"),
        (lambda ids: TokenIds((ids + 100_000,)), "were given"),
        (lambda ids: TokenEmbeddings((ids,), (torch.zeros(1, 3, 4),)), "where the encoder looks up"),
        (lambda ids: [], "There are no prompts"),
        (lambda ids: [3.5], r"3\.5 is no prompt"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_sd1, change, says):
    with pytest.raises(WorkbenchError, match=says):
        tiny_sd1.encode(change(tiny_sd1.token_ids("a fox").ids[0]))
    assert len(tiny_sd1.encode("a fox")) == 1


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"guidance_scale": float("nan")}, "guidance scale of nan"),
        ({"guidance_scale": 1e30}, "guidance scale of 1e\\+30"),
        ({"steps": 0}, "0 steps"),
        ({"steps": 1001}, "Choose 1 to 1000"),
        ({"seeds": 2**64}, "seed"),
        ({"seeds": -1}, "seed"),
        ({"seeds": 3.7}, "seed"),
        ({"seeds": float("nan")}, "seed"),
    ],
)
def test_numbers_that_make_no_picture_are_refused(tiny_sd1, how, says):
    with pytest.raises(WorkbenchError, match=says):
        tiny_sd1.generate("a fox", **{"seeds": 1, **how})


def test_seeds_may_be_numbers_of_numpy_and_torch(tiny_sd1):
    wanted = tiny_sd1.generate("a fox", 3, steps=1)
    for seed in (np.int64(3), torch.tensor(3), 3.0):
        assert np.array_equal(tiny_sd1.generate("a fox", seed, steps=1), wanted)
