"""The drift meter against scipy and against clouds whose distances are known."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi
from torch.testing import assert_close

from probes.drift import DriftMeter, inverse_root, shrunk_covariance
from saes.errors import WorkbenchError


def cloud(n: int, seed: int = 0) -> torch.Tensor:
    """Rows of a stretched and shifted normal distribution in five dimensions, float64."""
    draw = torch.Generator().manual_seed(seed)
    stretch = torch.tensor([[3.0, 0, 0, 0, 0], [1, 0.5, 0, 0, 0], [0, 1, 2, 0, 0], [0, 0, 0, 0.5, 0], [1, 1, 1, 1, 1]])
    return torch.randn(n, 5, generator=draw, dtype=torch.float64) @ stretch.double().mT + 7


def test_equation_1_is_scipys_distance_under_the_covariance_of_equation_2():
    rows = cloud(200)
    meter = DriftMeter.fit(rows, seed=3)
    covariance = np.linalg.inv((meter.whitening @ meter.whitening).numpy())
    other = cloud(20, seed=1)
    expected = [mahalanobis(row, meter.mean.numpy(), np.linalg.inv(covariance)) for row in other.numpy()]
    assert_close(meter.distance(other), torch.tensor(expected, dtype=torch.float64))


def test_equation_2_shrinks_towards_a_ball_of_the_same_trace():
    rows = cloud(30)
    sample, shrunk = rows.mT.cov(correction=0), shrunk_covariance(rows)
    assert shrunk.trace().item() == pytest.approx(sample.trace().item())
    ball = torch.eye(5, dtype=torch.float64) * sample.trace() / 5
    share = ((sample - shrunk) / (sample - ball)).triu(1)[(sample - ball).triu(1).abs() > 1e-9]
    assert 0 < share[0] < 1 and (share - share[0]).abs().max() < 1e-9


def test_the_inverse_root_undoes_the_covariance_also_where_nothing_varies():
    covariance = cloud(50).mT.cov()
    root = inverse_root(covariance)
    assert_close(root @ covariance @ root, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-8)
    assert torch.isfinite(inverse_root(torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)))).all()
    assert torch.isfinite(inverse_root(torch.zeros(2, 2, dtype=torch.float64))).all()


def test_distances_of_a_normal_cloud_are_distributed_as_chi():
    meter = DriftMeter.fit(cloud(20_000))
    new = meter.distance(cloud(20_000, seed=1))
    for q in (0.1, 0.5, 0.9):
        assert new.quantile(q).item() == pytest.approx(chi(5).ppf(q), rel=0.03)
        assert meter.limit(q) == pytest.approx(chi(5).ppf(q), rel=0.03)


def test_equation_3_is_one_minus_the_quantile_for_real_rows_and_one_far_away():
    meter = DriftMeter.fit(cloud(20_000))
    assert meter.share_beyond(cloud(20_000, seed=1), 0.9) == pytest.approx(0.1, abs=0.01)
    assert meter.share_beyond(cloud(50, seed=1) + 100) == 1
    thin = torch.linalg.eigh(cloud(20_000).mT.cov()).eigenvectors[:, 0]  # a short step where rows hardly vary …
    assert meter.share_beyond(cloud(500, seed=2) + 2 * thin) > 0.9
    wide = torch.linalg.eigh(cloud(20_000).mT.cov()).eigenvectors[:, -1]  # … is farther than the same where they do
    assert meter.share_beyond(cloud(500, seed=2) + 2 * wide) < 0.1


def test_rows_of_a_group_are_held_out_together():
    groups = torch.arange(8).repeat_interleave(25)
    rows = cloud(200) + 50 * groups[:, None]
    meter = DriftMeter.fit(rows, groups=groups, seed=1)
    distances = meter.distance(rows)
    out = torch.isin(distances, meter.reference)
    assert out.sum() == 50 and {int(out[groups == group].sum()) for group in range(8)} == {0, 25}
    assert_close(meter.mean, rows[~out].mean(dim=0))  # the held out have no part in the cloud
    assert_close(torch.linalg.inv(meter.whitening @ meter.whitening), shrunk_covariance(rows[~out]))


def test_the_seed_decides_what_is_held_out():
    rows = cloud(100)
    assert torch.equal(DriftMeter.fit(rows, seed=1).reference, DriftMeter.fit(rows, seed=1).reference)
    assert not torch.equal(DriftMeter.fit(rows, seed=1).reference, DriftMeter.fit(rows, seed=2).reference)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: DriftMeter.fit(cloud(3)), "3 prompts are too few"),
        (lambda: DriftMeter.fit(cloud(9) / 0), "not finite"),
        (lambda: DriftMeter.fit(cloud(9)).share_beyond(cloud(2), 99.0), "99.0 is no quantile"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, said):
    with pytest.raises(WorkbenchError, match=said):
        call()
