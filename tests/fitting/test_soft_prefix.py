"""Soft prefixes: where they stand, and searches for them against steps written out by hand in float64."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_pipelines import CLIP_LENGTH
from workbench.fitting.soft_prefix import attacked, check_room, prefixed, random_prefix


def table(model):
    return model.architecture.token_tables[0].weight.detach()


def ids_of(model, text):
    """Content alone."""
    return model.pipe.tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("text", ["fox", "a photo of a fox", "vixen"])
def test_a_prefix_of_real_tokens_is_the_prompt_with_these_words_before_it(tiny_sd1, text):
    prefix = table(tiny_sd1)[ids_of(tiny_sd1, "red dog")]
    got = tiny_sd1.encode(prefixed(tiny_sd1, text, prefix)).embeddings
    assert_close(got, tiny_sd1.encode(f"red dog {text}").embeddings, rtol=0, atol=1e-6)
    assert not torch.allclose(got, tiny_sd1.encode(text).embeddings, atol=1e-2)


def test_an_empty_prefix_is_the_text_itself(tiny_sd1):
    got = tiny_sd1.encode(prefixed(tiny_sd1, "a fox", table(tiny_sd1)[:0])).embeddings
    assert_close(got, tiny_sd1.encode("a fox").embeddings, rtol=0, atol=1e-6)


def test_begin_prefix_all_tokens_of_the_text_and_one_end_stand_in_this_order(tiny_sd1):
    """Of a word of five tokens none is lost."""
    tokenizer, prefix = tiny_sd1.pipe.tokenizer, torch.randn(2, 16)
    told = prefixed(tiny_sd1, "vixen", prefix)
    rows, ids = told.embeddings[0][0], told.ids[0][0].tolist()
    word = ids_of(tiny_sd1, "vixen")
    assert len(word) == 5 and len(rows) == len(ids) == CLIP_LENGTH
    assert ids[0] == tokenizer.bos_token_id and ids[3:8] == word
    assert ids[8:] == [tokenizer.eos_token_id] + [tokenizer.pad_token_id] * 3
    assert torch.equal(rows[1:3], prefix)
    assert torch.equal(rows[[0, *range(3, 12)]], table(tiny_sd1)[[ids[0], *ids[3:]]])


def test_a_prefix_without_room_is_refused(tiny_sd1):
    check_room(tiny_sd1, ["vixen"], CLIP_LENGTH - 7)
    with pytest.raises(WorkbenchError, match=r"'vixen' takes 7 of the 12 positions .* a prefix of 6 does not fit"):
        check_room(tiny_sd1, ["fox", "vixen"], CLIP_LENGTH - 6)
    with pytest.raises(WorkbenchError, match="does not fit"):
        prefixed(tiny_sd1, "vixen", torch.zeros(6, 16))


def test_a_gradient_reaches_the_prefix(tiny_sd1):
    prefix = torch.zeros(1, 16, requires_grad=True)
    tiny_sd1.encode(prefixed(tiny_sd1, "fox", prefix)).embeddings[0, -1, 0].backward()
    assert prefix.grad.abs().max() > 1e-3


def test_random_prefixes_are_rows_of_the_table_and_the_generators_own(tiny_sd1):
    drawn = random_prefix(tiny_sd1, 40, torch.Generator().manual_seed(3))
    rows = [torch.nonzero((table(tiny_sd1) == one).all(dim=1)) for one in drawn]
    assert all(len(found) == 1 for found in rows) and len({int(found) for found in rows}) > 20
    assert torch.equal(drawn, random_prefix(tiny_sd1, 40, torch.Generator().manual_seed(3)))


AIM = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
START = torch.tensor([[0.3, 0.0, 0.5]], dtype=torch.float64)  # no gradient in the last


def loss(prefix):
    return ((prefix - AIM) ** 2).sum()


def gradient(prefix):
    return 2 * (prefix - AIM)


def adam(start, directions, lr=0.1, b1=0.9, b2=0.999):
    """Steps as published (Kingma & Ba 2015): where each begins, and the end."""
    places, m, v = [start], 0.0, 0.0
    for t in range(1, 1 + len(directions)):
        g = directions[t - 1](places[-1])
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        places.append(places[-1] - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8))
    return places


def test_pgd_is_adam_by_fresh_gradients_and_hands_over_the_last_step():
    got = attacked(loss, START, kind="pgd", steps=4, lr=0.1)
    assert_close(got, adam(START, [gradient] * 4)[-1])
    assert loss(got) < loss(START) and not got.requires_grad
    assert not torch.equal(attacked(loss, START, kind="pgd", steps=1, lr=0.1), START), "one step is a step"


def test_fast_is_one_step_of_the_length_of_the_rate_wherever_there_is_a_gradient():
    got = attacked(loss, START, kind="fast", steps=30, lr=0.1)
    assert_close(got, torch.tensor([[0.4, -0.1, 0.5]], dtype=torch.float64))
    assert_close((got - START).abs(), torch.tensor([[0.1, 0.1, 0.0]], dtype=torch.float64))


class Piled:
    """The code's gradients: their sum, and for "fast" its signs in the place of the sum."""

    def __init__(self, signs):
        self.signs, self.sum = signs, 0.0

    def __call__(self, prefix):
        self.sum = self.sum + gradient(prefix)
        self.sum = self.sum.sign() if self.signs else self.sum
        return self.sum


@pytest.mark.parametrize("kind", ["pgd", "fast"])
def test_the_codes_search_piles_gradients_up_and_loses_its_last_step(kind):
    got = attacked(loss, START, kind=kind, steps=4, lr=0.1, official=True)
    places = adam(START, [Piled(kind == "fast")] * 4)
    assert_close(got, places[3])
    assert not torch.allclose(got, places[4])
    clean = attacked(loss, START, kind=kind, steps=3, lr=0.1)
    assert not torch.allclose(got, clean, atol=1e-3), "piling up makes a difference"
    assert torch.equal(attacked(loss, START, kind=kind, steps=1, lr=0.1, official=True), START)


def test_a_search_leaves_its_start_and_asks_anew_at_each_step():
    start, seen = START.clone(), []

    def noted(prefix):
        seen.append(prefix.detach().clone())
        return loss(prefix)

    with torch.no_grad():
        attacked(noted, start, kind="pgd", steps=3, lr=0.1)
    assert torch.equal(start, START)
    assert_close(seen, adam(START, [gradient] * 3)[:3])
