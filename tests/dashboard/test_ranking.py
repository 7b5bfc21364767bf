"""Prompts from the whole range of a feature: a uniform sample, and the exact quantile of each."""

import torch
from torch.testing import assert_close

from workbench.dashboard.ranking import LEAST_DRAWN, MOST_DRAWN, TARGETS, Kept, drawn_keys, n_drawn, spread_of

PROMPTS, D_SAE, PLACES, N_DRAWN = 400, 6, 3, 10


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(scores, maps, sizes):
    kept, first = Kept(scores.shape[1], N_DRAWN, PLACES), 0
    for size in sizes:
        part = slice(first, first + size)
        kept.take(drawn_keys(scores[part], first), scores[part], maps[part], first)
        first += size
    return kept


def sparse_scores():
    scores = random(PROMPTS, D_SAE) * (random(PROMPTS, D_SAE, seed=1) < 0.5)
    scores[:, 4], scores[:, 5] = 0, 0
    scores[[7, 90], 5] = torch.tensor([0.5, 0.25])
    return scores


def test_the_sample_is_the_same_however_prompts_are_batched_and_holds_what_fires_alone():
    scores, maps = sparse_scores(), random(PROMPTS, PLACES, D_SAE, seed=2)
    one, other = drawn(scores, maps, [PROMPTS]), drawn(scores, maps, [3, 250, 147])
    there = one.prompts >= 0
    assert torch.equal(one.prompts, other.prompts) and torch.equal(one.maps[there], other.maps[there])
    for feature in range(D_SAE):
        own = one.prompts[feature][one.prompts[feature] >= 0]
        assert len(own) == min(N_DRAWN, int((scores[:, feature] > 0).sum())) and len(set(own.tolist())) == len(own)
        assert (scores[own, feature] > 0).all()
        assert_close(one.scores[feature, : len(own)], scores[own, feature])
        assert_close(one.maps[feature, : len(own)].float(), maps[own, :, feature], atol=1e-3, rtol=1e-3)


def test_every_prompt_on_which_a_feature_fires_is_drawn_equally_often():
    n, features = 40, 3000
    scores = torch.rand(n, 1).expand(n, features).contiguous() + 0.1
    kept = Kept(features, N_DRAWN, 1)
    kept.take(drawn_keys(scores, 0), scores, torch.zeros(n, 1, features), 0)
    share = torch.bincount(kept.prompts.flatten(), minlength=n) / features
    expected = N_DRAWN / n
    five_deviations = 5 * (expected * (1 - expected) / features) ** 0.5
    assert ((share - expected).abs() < five_deviations).all()


def test_as_many_are_drawn_as_there_is_room_for():
    assert n_drawn(1024, 77) == MOST_DRAWN and n_drawn(2**19, 77) == LEAST_DRAWN
    assert LEAST_DRAWN < n_drawn(20_480, 256) < MOST_DRAWN


def test_quantiles_are_shares_of_what_fires_and_the_nearest_to_the_targets():
    scores, maps = sparse_scores(), random(PROMPTS, PLACES, D_SAE, seed=2)
    kept = drawn(scores, maps, [PROMPTS])
    spread = spread_of(kept, scores)
    for feature in range(D_SAE):
        there = spread.prompts[feature] >= 0
        own, firing = spread.prompts[feature][there], scores[:, feature][scores[:, feature] > 0]
        exact = torch.stack([(firing <= scores[prompt, feature]).float().mean() for prompt in own]) if len(own) else own
        assert_close(spread.quantiles[feature][there], exact.float(), atol=1e-6, rtol=1e-6)
        assert (spread.quantiles[feature][there].diff() < 0).all()
        assert len(own) == min(len(TARGETS), len(firing)) and len(set(own.tolist())) == len(own)
    best = min(abs(float((scores[:, 0][scores[:, 0] > 0] <= score).float().mean()) - 0.9) for score in kept.scores[0])
    assert min((spread.quantiles[0] - 0.9).abs()) <= best + 1e-6
