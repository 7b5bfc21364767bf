"""One pass over given tokens sees what the loop with its cache saw, with gradients."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, CODES, WIDTH

PROMPTS = ["a fox", "a photo of a red fox"]


@pytest.mark.parametrize("role", ["cond", "uncond"])
def test_hidden_states_and_logits_are_those_of_the_loop(tiny_janus, role):
    with tiny_janus.session(record=["lm.norm"]) as session:
        codes = tiny_janus.sample_codes(PROMPTS, [1, 2])
    rows = slice(2) if role == "cond" else slice(2, None)
    loop = torch.cat([x[rows] for _, x in session.records["lm.norm"]], dim=1)
    hidden = tiny_janus.hidden(codes, PROMPTS, role)
    attended = tiny_janus.architecture.layout.attended(tiny_janus.token_ids(PROMPTS).ids[0])
    there = torch.cat([attended, torch.ones(2, CELLS - 1, dtype=torch.bool)], dim=1)
    assert_close(hidden[there], loop[there], rtol=1e-4, atol=1e-4)
    logits = tiny_janus.logits(codes, PROMPTS, role)
    assert logits.shape == (2, CELLS, CODES)
    assert_close(logits, tiny_janus.pipe.generation_head(loop[:, -CELLS:]), rtol=1e-4, atol=1e-3)


def test_the_greedy_tokens_are_the_best_ones(tiny_janus):
    codes = tiny_janus.sample_codes(PROMPTS, 0, guidance_scale=1.0, temperature=0.0)
    assert torch.equal(tiny_janus.logits(codes, PROMPTS).argmax(dim=-1), codes)
    assert not torch.equal(tiny_janus.logits(codes, PROMPTS, "uncond").argmax(dim=-1), codes)


def test_a_token_is_predicted_from_those_before_it_alone(tiny_janus):
    codes = torch.arange(6)[None]
    other = codes.clone()
    other[0, 3] = 40
    one, two = tiny_janus.logits(codes, "a fox"), tiny_janus.logits(other, "a fox")
    assert_close(one[:, :4], two[:, :4])
    assert (one[:, 4:] - two[:, 4:]).abs().max() > 0.01
    assert_close(tiny_janus.logits(codes[:, :2], "a fox"), one[:, :2], rtol=1e-4, atol=1e-4)


def test_one_prompt_stands_for_all_pictures(tiny_janus):
    codes = torch.tensor([[1, 2], [3, 4]])
    assert_close(tiny_janus.hidden(codes, "a fox")[1:], tiny_janus.hidden(codes[1:], "a fox"), rtol=1e-4, atol=1e-4)
    with pytest.raises(WorkbenchError, match="There are 3 prompts and 2 pictures"):
        tiny_janus.hidden(codes, ["a fox"] * 3)


def test_gradients_reach_soft_prompts_and_weights(tiny_janus):
    soft = tiny_janus.token_embeddings("a fox")
    soft.embeddings[0].requires_grad_()
    tiny_janus.logits(torch.tensor([[5, 6, 7]]), soft)[0, -1, 3].backward()
    assert soft.embeddings[0].grad.shape == (1, 8, WIDTH) and (soft.embeddings[0].grad.abs().sum(-1) > 0).all()
    weight = tiny_janus.parameter("language_model.layers.0.self_attn.q_proj.weight")
    weight.requires_grad_()
    try:
        tiny_janus.hidden(torch.tensor([[5, 6, 7]]), "a fox")[0, -1, 0].backward()
        assert weight.grad.any()
    finally:
        weight.requires_grad_(False)
        weight.grad = None


def test_embeddings_of_a_text_are_what_is_encoded(tiny_janus):
    encoding = tiny_janus.encode(PROMPTS)
    assert torch.equal(encoding.embeddings, tiny_janus.token_embeddings(PROMPTS).embeddings[0])
    assert encoding.prompts == tuple(PROMPTS) and encoding.pooled is None and encoding.roles == ("cond", "cond")
    uncond = tiny_janus.encode(["a fox", "a cat"], "uncond").embeddings
    assert torch.equal(uncond[0], uncond[1])
    assert not torch.equal(*tiny_janus.encode(["a fox", "a cat"]).embeddings)
