"""Means of rows a prompt, and the SAE of random weights beside which they are judged."""

import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

from saes.controls import random_weights
from saes.pooling import prompt_means
from tests.tiny_saes import directions_sae


def sae(d=6, d_sae=20, k=3):
    torch.manual_seed(0)
    return directions_sae(torch.randn(d_sae, d), "text.2", k=k, b_dec=torch.ones(d))


def test_a_prompts_mean_is_over_its_rows_of_both_splits(make_store):
    store = make_store()
    rows, prompts = torch.cat([block.rows for block in store.blocks("text.2")]), store.labels("text.2")["prompt"]
    means = prompt_means(store, "text.2")
    assert len(means) == 60 and store.rows("text.2", "validation") > 0
    for prompt in (0, 17, 59):
        torch.testing.assert_close(means[prompt], rows[prompts == prompt].mean(0))


def test_the_mean_reconstruction_is_decoded_from_the_mean_features(make_store):
    store, one = make_store(), sae()
    blocks = list(store.blocks("text.2"))
    rebuilt = torch.cat([one(block.rows) for block in blocks])
    prompts = torch.cat([block.labels["prompt"] for block in blocks])
    means = torch.stack([rebuilt[prompts == prompt].mean(0) for prompt in range(60)])
    torch.testing.assert_close(prompt_means(store, "text.2", one) @ one.W_dec + one.b_dec, means, atol=1e-4, rtol=1e-4)


def test_random_weights_keep_size_sparsity_and_centre():
    one = sae()
    control = random_weights(one, seed=1)
    assert (control.cfg.d_in, control.cfg.d_sae, control.cfg.k) == (6, 20, 3)
    assert torch.equal(control.b_dec, one.b_dec) and not control.b_enc.any()
    torch.testing.assert_close(control.W_dec.norm(dim=1), torch.ones(20))
    assert torch.equal(control.W_enc, control.W_dec.T)
    assert not torch.equal(control.W_dec, random_weights(one, seed=2).W_dec)
    assert torch.equal(control.W_dec, random_weights(one, seed=1).W_dec)


def test_an_sae_without_k_lends_its_l0():
    one = JumpReLUSAE(JumpReLUSAEConfig(d_in=6, d_sae=20))
    one.cfg.metadata.l0 = 4.4
    assert random_weights(one).cfg.k == 4
