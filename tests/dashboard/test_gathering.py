"""What is gathered batch by batch equals what a dense computation on all rows gives."""

import pytest
import torch
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from saes.dictionary import Dictionary
from tests.tiny_saes import directions_sae
from workbench.dashboard import gathering
from workbench.dashboard.gathering import N_TOP, Gatherer

D, D_SAE, K, PROMPTS = 6, 20, 3, 11
WORDS = [["<s>", *("fox" if prompt % 2 else "cat" for _ in range(3)), "</s>"] for prompt in range(PROMPTS)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """The table of all pairs comes in several pieces, the last one shorter."""
    monkeypatch.setattr(gathering, "ROWS", 7)


@pytest.fixture(scope="module")
def sae():
    return directions_sae(random(D_SAE, D, seed=1), "text.0", k=K)


def is_text_of(content, is_text):
    return torch.full_like(content, is_text)


def gathered(sae, x, content, *, is_text, tokens=(), timesteps=(None,)):
    """x is [calls, prompts, positions, d]; batches of 4, 4 and 3 prompts."""
    positions = x.shape[2]
    gatherer = Gatherer(Dictionary.of(sae), *((positions, 0) if is_text else (0, positions)), tokens)
    for start in range(0, PROMPTS, 4):
        batch = slice(start, start + 4)
        gatherer.begin(x[:, batch].shape[1])
        for call, timestep in enumerate(timesteps):
            own, n = content[batch], len(content[batch])
            gatherer.see(
                x[call, batch], own, torch.arange(positions).expand(n, -1), ~is_text_of(own, is_text), timestep
            )
        gatherer.end()
    return gatherer


def dense(sae, x, content):
    return sae.encode(x) * content[..., None]


def check_tops(gatherer, scores, maps):
    for feature in range(D_SAE):
        order = scores[:, feature].argsort(descending=True, stable=True)[:N_TOP]
        order = order[scores[order, feature] > 0]
        found = gatherer.top.prompts[feature]
        assert found[: len(order)].tolist() == order.tolist() and (found[len(order) :] == -1).all()
        assert_close(gatherer.top.maps[feature, : len(order)].float(), maps[order, :, feature], atol=2e-3, rtol=2e-3)


def check_together(gatherer, flat):
    norm = flat.norm(dim=0).clamp_min(1e-12)
    cosine = ((flat.T @ flat) / norm[:, None] / norm[None, :]).fill_diagonal_(-1)
    indices, values = gatherer.together(4)
    assert_close(values, cosine.topk(4, dim=1).values.clamp_min(0), atol=1e-5, rtol=1e-4)
    assert_close(cosine.gather(1, indices).clamp_min(0), values, atol=1e-5, rtol=1e-4)


def test_prompts_are_counted_on_their_own_words_alone(sae):
    x, content = random(1, PROMPTS, 5, D), torch.ones(PROMPTS, 5, dtype=torch.bool)
    content[:, 0] = False
    content[::2, 3:] = False
    gatherer = gathered(sae, x, content, is_text=True, tokens=WORDS)
    z = dense(sae, x[0], content)
    assert_close(gatherer.density, (z > 0).sum((0, 1)) / content.sum())
    assert_close(gatherer.mean_active, z.sum((0, 1)) / (z > 0).sum((0, 1)).clamp_min(1))
    assert_close(torch.cat(gatherer.scores), z.amax(dim=1))
    check_tops(gatherer, z.amax(dim=1), z)
    check_together(gatherer, z.flatten(0, 1))
    assert (z[:, 0] == 0).all() and (sae.encode(x[0])[:, 0] > 0).any()  # the begin token fires, and does not count


def test_words_are_ranked_by_the_mean_over_all_their_places(sae):
    x, content = random(1, PROMPTS, 5, D, seed=3), torch.ones(PROMPTS, 5, dtype=torch.bool)
    gatherer = gathered(sae, x, content, is_text=True, tokens=WORDS)
    z = dense(sae, x[0], content)[:, 1:4]
    means = {"cat": z[::2].mean((0, 1)), "fox": z[1::2].mean((0, 1))}
    found = gatherer.loudest_words(2)
    for feature in range(D_SAE):
        wanted = sorted((word for word in means if means[word][feature] > 0), key=lambda w: -means[w][feature])
        assert found[feature] == wanted
    assert {tuple(words) for words in found} >= {("cat", "fox"), ("fox", "cat")}


def test_pictures_are_pooled_and_averaged_over_the_steps(sae):
    side, times = 32, (900.0, 500.0, 100.0)
    x, content = random(3, PROMPTS, side * side, D, seed=4), torch.ones(PROMPTS, side * side, dtype=torch.bool)
    gatherer = gathered(sae, x, content, is_text=False, timesteps=times)
    z = torch.stack([dense(sae, call, content) for call in x])  # [steps, prompts, pixels, features]
    maps = z.mean(0).mT.unflatten(-1, (side, side))
    maps = avg_pool2d(maps, 2).flatten(2).mT
    assert gatherer.n_places == 16 * 16
    check_tops(gatherer, z.amax((0, 2)), maps)
    check_together(gatherer, maps.flatten(0, 1))
    for call, time in enumerate(times):
        assert_close(gatherer.timesteps[time], z[call].sum((0, 1)), rtol=1e-4, atol=1e-3)
    assert_close(gatherer.density, (z > 0).float().mean((0, 1, 2)), atol=1e-6, rtol=1e-5)


def test_features_that_write_alike_are_found_by_their_decoder_rows(sae):
    gatherer = Gatherer(Dictionary.of(sae), 5, 0)
    indices, values = gatherer.alike(3)
    cosine = (sae.W_dec @ sae.W_dec.T).fill_diagonal_(-2)
    assert_close(values, cosine.topk(3, dim=1).values)
    assert not (indices == torch.arange(D_SAE)[:, None]).any()


def test_fewer_prompts_than_places_on_a_card_leave_the_rest_empty(sae):
    gatherer = Gatherer(Dictionary.of(sae), 4, 0)
    gatherer.begin(2)
    words = torch.ones(2, 4, dtype=torch.bool)
    gatherer.see(random(2, 4, D, seed=5), words, torch.arange(4).expand(2, -1), ~words, None)
    gatherer.end()
    assert (gatherer.top.prompts[:, 2:] == -1).all() and (gatherer.top.scores[:, 2:] == 0).all()
    assert (gatherer.top.prompts[:, :2] >= 0).any()


def test_prompt_and_picture_in_one_sequence_have_places_of_their_own(sae):
    """A prompt of 3 tokens, the first of no account, and 4 cells that come one by one; the last is never read."""
    words, cells = random(PROMPTS, 3, D), random(3, PROMPTS, 1, D, seed=2)
    content = torch.tensor([False, True, True]).expand(PROMPTS, -1)
    gatherer = Gatherer(Dictionary.of(sae), 3, 4, [["<s>", "fox", "</s>"]] * PROMPTS)
    gatherer.begin(PROMPTS)
    gatherer.see(words, content, torch.arange(3).expand(PROMPTS, -1), torch.zeros_like(content), None)
    for cell, x in enumerate(cells):
        one = torch.ones(PROMPTS, 1, dtype=torch.bool)
        gatherer.see(x, one, torch.full((PROMPTS, 1), cell), one, None)
    gatherer.end()
    z = torch.cat([dense(sae, words, content), sae.encode(cells[:, :, 0]).transpose(0, 1)], dim=1)
    check_tops(gatherer, z.amax(dim=1), torch.cat([z, torch.zeros(PROMPTS, 1, D_SAE)], dim=1))
    check_together(gatherer, z.flatten(0, 1))
    assert gatherer.n_places == 7 and gatherer.n_cells == 4 and not gatherer.timesteps
    assert_close(gatherer.density, (z[:, 1:] > 0).float().mean((0, 1)), atol=1e-6, rtol=1e-5)
    assert {word for found in gatherer.loudest_words(3) for word in found} == {"fox"}
