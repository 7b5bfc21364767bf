"""Streaming statistics equal those of all rows at once."""

import pytest
import torch
from sae_lens import StandardSAE, StandardSAEConfig

from saes.feature_activity import coactivation, feature_stats


@pytest.fixture
def sae():
    torch.manual_seed(0)
    sae = StandardSAE(StandardSAEConfig(d_in=3, d_sae=8))
    sae.b_enc.data = torch.linspace(-2, 0.5, 8)
    sae.b_enc.data[0] = -100  # never fires
    return sae.requires_grad_(False)


@pytest.fixture
def rows():
    return torch.randn(50, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_streaming_finds_the_same_tops_as_all_rows_at_once(sae, rows, batch):
    features = sae.encode(rows)
    stats = feature_stats(sae, rows.split(batch), n_top=4)
    assert stats.rows == 50
    torch.testing.assert_close(stats.density, (features > 0).float().mean(0))
    torch.testing.assert_close(stats.top_values, features.topk(4, dim=0).values.T)
    for feature in range(1, 8):
        named = stats.top_rows[feature]
        assert torch.equal(features[named[named >= 0], feature], stats.top_values[feature][named >= 0])
        assert (named >= 0).sum() == min(4, (features[:, feature] > 0).sum())
        active = features[:, feature][features[:, feature] > 0]
        torch.testing.assert_close(stats.mean_active[feature], active.mean())


def test_a_silent_feature_has_no_top_rows(sae, rows):
    stats = feature_stats(sae, rows.split(7), n_top=4)
    assert stats.top_rows[0].tolist() == [-1] * 4 and stats.mean_active[0] == 0


def test_fewer_rows_than_tops_are_filled_up(sae, rows):
    stats = feature_stats(sae, [rows[:2]], n_top=5)
    assert stats.top_rows.shape == (8, 5) and (stats.top_rows[:, 2:] == -1).all()


def test_coactivation_is_the_jaccard_overlap(sae, rows):
    chosen = torch.tensor([0, 4, 7])
    overlap = coactivation(sae, rows.split(7), chosen)
    fires = [set((sae.encode(rows)[:, f] > 0).nonzero().flatten().tolist()) for f in chosen]
    for a in range(3):
        for b in range(3):
            either = fires[a] | fires[b]
            assert overlap[a, b].item() == pytest.approx(len(fires[a] & fires[b]) / len(either) if either else 0)
    assert 0 < overlap[1, 2] < 1
