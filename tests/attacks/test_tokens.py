"""Free tokens: which may stand there, where they stand in the ids and embeddings of every text encoder."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.attacks.controls import Nothing
from workbench.attacks.tokens import FREE, content, interleaved, prefixed, slots, vocabulary
from workbench.models import TokenIds


def test_a_prefix_and_a_token_before_every_three():
    assert prefixed([7, 8], 2) == [FREE, FREE, 7, 8]
    assert interleaved([1, 2, 3, 4, 5, 6, 7], 3) == [FREE, 1, 2, 3, FREE, 4, 5, 6, FREE, 7]
    assert interleaved([1, 2, 3], 3) == [FREE, 1, 2, 3] and interleaved([], 3) == [FREE]


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_filled_with_its_own_tokens_a_prompt_is_itself(tiny, kind):
    model = tiny(kind)
    texts = ["a photo of a fox", "red dog"]
    ids = [content(model, text) for text in texts]
    parts = slots(model, [[FREE, *ids[0][1:4], FREE], [ids[1][0], FREE]])
    own = torch.tensor([ids[0][0], ids[0][4], ids[1][1]])
    assert parts.counts == [2, 1]
    assert parts.filled(own).same(model.token_ids(texts))
    whole, table = model.token_embeddings(texts), vocabulary(model, Nothing()).table
    again = parts.embedded(own, table[own])
    assert TokenIds(again.ids).same(TokenIds(whole.ids))
    for one, other in zip(again.embeddings, whole.embeddings, strict=True):
        assert torch.equal(one, other)
    assert parts.of([1]).filled(own[2:]).same(model.token_ids("red dog"))


def test_only_free_places_take_embeddings_and_gradients(tiny_sdxl):
    parts = slots(tiny_sdxl, [prefixed(content(tiny_sdxl, "a fox"), 2)])
    given = torch.randn(2, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    whole = parts.embedded(torch.tensor([3, 4]), given)
    first, second = whole.embeddings
    assert_close(torch.cat([first[0, 1:3], second[0, 1:3]], dim=1), given)
    rest = tiny_sdxl.token_embeddings(TokenIds(whole.ids)).embeddings[0][0]
    assert torch.equal(first[0, 3:], rest[3:]) and torch.equal(first[0, 0], rest[0])
    (first.sum() + 2 * second.sum()).backward()
    assert given.grad[:, :16].eq(1).all() and given.grad[:, 16:].eq(2).all()


def test_every_allowed_token_is_nearest_to_its_own_embedding_and_others_are_nobodys(tiny_sd1):
    words = vocabulary(tiny_sd1, Nothing())
    own = words.allowed.nonzero()[:, 0]
    assert torch.equal(words.nearest(3 * words.table[own]), own)
    barred = (~words.allowed).nonzero()[:, 0]
    assert not torch.isin(words.nearest(words.table[barred]), barred).any()


def test_tokens_that_frame_a_prompt_and_those_of_excluded_words_may_not_be_chosen(tiny_sd1):
    tokenizer, free = tiny_sd1.pipe.tokenizer, vocabulary(tiny_sd1, Nothing()).allowed
    assert not free[[tokenizer.bos_token_id, tokenizer.eos_token_id]].any()
    fewer = vocabulary(tiny_sd1, Nothing(), ["fox", "qz"]).allowed
    gone = {*content(tiny_sd1, "fox"), *content(tiny_sd1, "qz")}
    assert set((free & ~fewer).nonzero()[:, 0].tolist()) == gone and len(gone) == 3


def test_what_may_stand_for_a_minor_may_not_be_chosen(tiny_sd1, monkeypatch):
    tokenizer = tiny_sd1.pipe.tokenizer
    words = {**tokenizer.get_vocab(), "child</w>": 7}
    monkeypatch.setattr(type(tokenizer), "get_vocab", lambda self: words)
    assert not vocabulary(tiny_sd1, Nothing()).allowed[7] and vocabulary(tiny_sd1, Nothing()).allowed[8]


def test_a_prompt_without_room_and_tokenizers_that_differ_are_refused(tiny_sd1, tiny_sd3):
    with pytest.raises(WorkbenchError, match=r"5 tokens has no room for 6 more: .* Choose 5 free tokens or fewer"):
        slots(tiny_sd1, [prefixed(content(tiny_sd1, "a photo of a fox"), 6), [FREE]])
    slots(tiny_sd1, [prefixed(content(tiny_sd1, "a photo of a fox"), 5)])
    with pytest.raises(WorkbenchError, match="tokenizers of different vocabularies"):
        vocabulary(tiny_sd3, Nothing())
