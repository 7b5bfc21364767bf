"""Tokens against transformers' own generation, which is slower and knows no edits; and what a batch must not change."""

import numpy as np
import pytest
import torch

from tests.tiny_janus import BOI, CELLS, CODES, PIXELS
from workbench.models.janus.choosing import guided

SHORT, LONG = "a fox", "a photo of a red cat by a dog"


def by_transformers(model, prompts, guidance_scale):
    """Greedy tokens."""
    whole, ids = model.pipe.whole, model.token_ids(prompts).ids[0]
    whole.generation_config.generation_kwargs = {"boi_token_id": BOI}  # what it forgets when it is saved
    return whole.generate(
        input_ids=ids, attention_mask=model.architecture.layout.attended(ids).long(), generation_mode="image",
        do_sample=False, guidance_scale=guidance_scale,
    )  # fmt: skip


@pytest.mark.parametrize("prompts", [[SHORT], [SHORT, LONG]], ids=["one", "of two lengths"])
@pytest.mark.parametrize("guidance_scale", [5.0, 1 + 1e-6])
def test_greedy_tokens_are_those_of_transformers(tiny_janus, prompts, guidance_scale):
    ours = tiny_janus.sample_codes(prompts, 0, guidance_scale=guidance_scale, temperature=0.0)
    assert torch.equal(ours, by_transformers(tiny_janus, prompts, guidance_scale))
    assert ours.shape == (len(prompts), CELLS) and ours.dtype == torch.int64 and 0 <= int(ours.min()) < CODES


def test_guidance_1_is_the_prompt_alone_without_the_other_rows(tiny_janus):
    with tiny_janus.session(record=["lm.0"]) as session:
        ours = tiny_janus.sample_codes([SHORT, LONG], 0, guidance_scale=1.0, temperature=0.0)
    assert torch.equal(ours, by_transformers(tiny_janus, [SHORT, LONG], 1 + 1e-6))
    assert {clock.roles for clock, _ in session.records["lm.0"]} == {("cond", "cond")}


def test_guidance_0_is_the_same_for_every_prompt_of_one_length(tiny_janus):
    """There is no word left in it; and transformers refuses it."""
    one, other = tiny_janus.sample_codes(["a fox", "a cat"], 0, guidance_scale=0.0, temperature=0.0)
    assert torch.equal(one, other)
    one, other = tiny_janus.sample_codes(["a fox", "a cat"], 0, guidance_scale=5.0, temperature=0.0)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("guidance_scale", [-1.0, 0.5, 3.0])
def test_guidance_is_a_line_through_both_predictions(guidance_scale):
    cond, uncond = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 7.0]])
    expected = (1 - guidance_scale) * uncond + guidance_scale * cond
    torch.testing.assert_close(guided(torch.cat([cond, uncond]), guidance_scale), expected)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "top_k": 5}, {"guidance_scale": 1.0}])
def test_a_picture_depends_on_its_own_prompt_and_seed_alone(tiny_janus, settings):
    prompts, seeds = [SHORT, LONG, SHORT, "a cat"], [1, 2, 3, 4]
    together = tiny_janus.sample_codes(prompts, seeds, **settings)
    assert torch.equal(tiny_janus.sample_codes(prompts[::-1], seeds[::-1], batch_size=3, **settings), together.flip(0))
    for row in range(4):
        assert torch.equal(tiny_janus.sample_codes(prompts[row], seeds[row], **settings)[0], together[row])
    assert not torch.equal(together[0], together[2])


def test_ids_and_embeddings_give_the_pictures_of_their_texts(tiny_janus):
    texts = [SHORT, LONG]
    images = tiny_janus.generate(texts, [1, 2])
    assert images.shape == (2, PIXELS, PIXELS, 3)
    for same in (tiny_janus.token_ids(texts), tiny_janus.token_embeddings(texts)):
        assert np.array_equal(tiny_janus.generate(same, [1, 2]), images)
        assert np.array_equal(tiny_janus.generate(same, [1, 2], batch_size=1), images)
    changed = tiny_janus.token_embeddings(texts)
    changed.embeddings[0].neg_()
    assert not np.array_equal(tiny_janus.generate(changed, [1, 2]), images)


def test_the_best_token_alone_is_greedy(tiny_janus):
    greedy = tiny_janus.sample_codes([SHORT], 0, temperature=0.0)
    assert torch.equal(tiny_janus.sample_codes([SHORT], 7, top_k=1), greedy)
    assert not torch.equal(tiny_janus.sample_codes([SHORT], 7), greedy)


def test_the_cache_changes_nothing(tiny_janus):
    """The whole line is read again for every token."""
    codes = torch.zeros(2, 0, dtype=torch.int64)
    for _ in range(CELLS):
        codes = torch.cat([codes, codes.new_zeros(2, 1)], dim=1)  # the last token is never read
        both = [tiny_janus.logits(codes, [SHORT, LONG], role)[:, -1] for role in ("cond", "uncond")]
        codes[:, -1] = guided(torch.cat(both), 5.0).argmax(dim=-1)
    assert torch.equal(codes, tiny_janus.sample_codes([SHORT, LONG], 0, guidance_scale=5.0, temperature=0.0))
