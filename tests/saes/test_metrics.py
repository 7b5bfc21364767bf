"""Metrics against numbers worked out by hand, on an SAE whose weights are written by hand."""

import pytest
import torch
from sae_lens import StandardSAE, StandardSAEConfig

from saes.errors import WorkbenchError
from saes.metrics import density_histogram, evaluate_sae, loss_recovered, substitution_losses


@pytest.fixture
def sae():
    """Latents relu(x₀), relu(x₁), relu(-x₀), and one that never fires; x̂ = (f₀ - f₂, f₁ / 2)."""
    sae = StandardSAE(StandardSAEConfig(d_in=2, d_sae=4, apply_b_dec_to_input=False))
    sae.W_enc.data = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, 0]])
    sae.W_dec.data = torch.tensor([[1.0, 0], [0, 0.5], [-1, 0], [1, 1]])
    sae.b_enc.data = torch.tensor([0.0, 0, 0, -100])
    return sae.requires_grad_(False)


ROWS = torch.tensor([[3.0, 4], [-1, 0], [2, 0], [0, 4]])
# x̂: (3, 2), (-1, 0), (2, 0), (0, 2). Errors: 4, 0, 0, 4. Mean: (1, 2). Squares about it: 8, 8, 5, 5.


def test_every_figure_is_the_one_worked_out_by_hand(sae):
    metrics = evaluate_sae(sae, [ROWS])
    assert (metrics.rows, metrics.l0) == (4, (2 + 1 + 1 + 1) / 4)
    assert metrics.explained_variance == pytest.approx(1 - 8 / 26)
    assert metrics.cosine == pytest.approx(((9 + 8) / (5 * 13**0.5) + 1 + 1 + 1) / 4)
    assert metrics.norm_ratio == pytest.approx((13**0.5 / 5 + 1 + 1 + 0.5) / 4)
    assert metrics.density.tolist() == [0.5, 0.5, 0.25, 0]
    assert (metrics.dead_share, metrics.dense_share) == (0.25, 0.75)
    assert "density" not in metrics.numbers() and metrics.numbers()["rows"] == 4


def test_the_cut_into_batches_changes_nothing(sae):
    whole = evaluate_sae(sae, [ROWS]).numbers()
    for cut in ([1, 3], [3, 1], [1, 1, 1, 1], [2, 2]):
        assert evaluate_sae(sae, ROWS.split(cut)).numbers() == pytest.approx(whole)


def test_a_large_mean_does_not_swallow_the_variance(sae):
    generator = torch.Generator().manual_seed(0)
    rows = (torch.randn(1000, 2, generator=generator) + torch.tensor([3000.0, 0])).float()
    rows[0] = torch.tensor([3500.0, 0])  # the shift of the running sums is far off the mean
    got = evaluate_sae(sae, rows.split([1, 999])).explained_variance
    exact, x = rows.double(), torch.stack([rows[:, 0], rows[:, 1].relu() / 2], 1).double()
    assert got == pytest.approx(
        float(1 - (x - exact).square().sum() / (exact - exact.mean(0)).square().sum()), rel=1e-9
    )


@pytest.mark.parametrize("batches", [[], [torch.ones(3, 2)]])
def test_without_two_different_rows_nothing_can_be_explained(sae, batches):
    with pytest.raises(WorkbenchError, match="no two different rows"):
        evaluate_sae(sae, batches)


def test_the_histogram_counts_every_latent_by_its_decade():
    counts, edges = density_histogram(torch.tensor([0.0, 1e-9, 3e-3, 4e-3, 0.05, 1.0]), bins=4, lowest=-4.0)
    assert counts.tolist() == [2, 2, 1, 1] and edges.tolist() == [-4, -3, -2, -1, 0]


def test_loss_recovered_is_one_for_the_site_itself_and_zero_for_its_ablation():
    assert loss_recovered(clean=1.0, substituted=1.0, ablated=3.0) == 1
    assert loss_recovered(clean=1.0, substituted=3.0, ablated=3.0) == 0
    assert loss_recovered(clean=1.0, substituted=1.5, ablated=3.0) == 0.75
    assert loss_recovered(clean=1.0, substituted=4.0, ablated=3.0) == -0.5
    with pytest.raises(WorkbenchError, match="does not change the loss"):
        loss_recovered(1.0, 1.0, 1.0)


def test_substitution_hands_the_model_reconstruction_and_mean(sae):
    """A "model" whose loss is the squared distance of the site from what it wants."""
    wanted = ROWS.reshape(2, 2, 2)

    def loss_with(transform):
        site = wanted if transform is None else transform(wanted)
        assert site.shape == wanted.shape and site.dtype == wanted.dtype
        return float((site - wanted).square().sum())

    losses = substitution_losses(sae, ROWS.mean(0), loss_with)
    assert (losses.clean, losses.substituted, losses.ablated) == (0, 8, 26)
    assert losses.recovered == pytest.approx(18 / 26)  # with this loss, the explained variance
