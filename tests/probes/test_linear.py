"""LEACE keeps what its theorems promise, against other solvers; probes are judged on groups that they have not seen."""

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from probes.classifier import balanced_accuracy, fit_classifier
from probes.linear import held_out_hits, leace, split
from saes.errors import WorkbenchError

KINDS = ["binary", "classes", "numbers", "flat"]


def problem(kind, n=200, d=6):
    """Rows with unlike and correlated columns, and labels that they tell; "flat" rows lie in a plane."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(d, d, generator=generator, dtype=torch.float64) + 5
    if kind == "flat":
        x[:, -2:] = x[:, :2] @ torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    noise = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    if kind == "classes":
        return x, one_hot((x[:, :3] + noise).argmax(dim=1), 3).double()
    if kind == "numbers":
        return x, torch.stack([x[:, 0] + noise[:, 0], x[:, 1] * x[:, 2] + noise[:, 1]], dim=1)
    return x, (x[:, :1] + noise[:, :1] > 6).double()


def covariance(a, b):
    return (a - a.mean(dim=0)).mT @ (b - b.mean(dim=0)) / len(a)


@pytest.mark.parametrize("kind", KINDS)
def test_no_covariance_with_the_labels_is_left(kind):
    x, z = problem(kind)
    assert covariance(x, z).abs().max() > 0.05
    assert covariance(leace(x, z)(x), z).abs().max() < 1e-12  # (2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_an_affine_projection_that_keeps_the_mean(kind):
    x, z = problem(kind)
    erase = leace(x, z)
    once = erase(x)
    assert_close(erase(once), once, rtol=0, atol=1e-10)
    assert_close(erase(x.mean(dim=0)), x.mean(dim=0))
    assert_close(erase(0.3 * x[0] + 0.7 * x[1]), 0.3 * once[0] + 0.7 * once[1])
    ranks = {"binary": 1, "classes": 2, "numbers": 2, "flat": 1}  # the third class follows from the other two
    assert erase.left.shape[1] == ranks[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_change_is_least_in_every_norm_among_affine_maps_without_covariance(kind, seed):
    """All such linear parts are B Nᵀ, with NᵀΣxz = 0; B by least squares, in the norm M = RᵀR."""
    x, z = problem(kind)
    d, centred = x.shape[1], x - x.mean(dim=0)
    R = torch.eye(d, dtype=torch.float64)
    if seed is not None:
        R = torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    columns, values, _ = torch.linalg.svd(covariance(x, z))
    N = columns[:, int((values > 1e-10).sum()) :]
    B = torch.linalg.lstsq(torch.kron(centred @ N, R), (centred @ R.mT).flatten(), driver="gelsd").solution
    B = B.reshape(N.shape[1], d).mT
    assert_close(leace(x, z)(x) - x.mean(dim=0), centred @ N @ B.mT, rtol=0, atol=1e-8)


def test_logistic_and_linear_probes_find_nothing_afterwards_and_much_before():
    x, z = problem("binary")
    y = z[:, 0] > 0
    erased = leace(x, z)(x)
    assert balanced_accuracy(fit_classifier(x, y).says(x), y) > 0.8
    scale = erased.std(dim=0)
    assert (fit_classifier(x, y).weight * scale).norm() > 1
    assert (fit_classifier(erased, y).weight * scale).norm() < 1e-6
    fitted = torch.linalg.lstsq(erased - erased.mean(dim=0), z - z.mean(dim=0)).solution
    assert fitted.abs().max() < 1e-10


def test_any_covariance_of_full_rank_erases_but_only_the_rows_own_one_changes_least():
    x, z = problem("binary")
    own, round_ = leace(x, z), leace(x, z, torch.eye(6, dtype=torch.float64))
    assert covariance(round_(x), z).abs().max() < 1e-12
    direction = covariance(x, z)[:, 0] / covariance(x, z).norm()  # without W, the projection is an orthogonal one
    assert_close(round_(x), x - (x - x.mean(dim=0)) @ direction[:, None] * direction)
    assert (own(x) - x).square().sum() < 0.9 * (round_(x) - x).square().sum()


def test_labels_that_say_nothing_change_nothing_and_rows_keep_their_dtype():
    x, _ = problem("binary")
    constant = leace(x, torch.ones(len(x), 1, dtype=torch.float64))
    assert torch.equal(constant(x), x)
    mirrored = torch.cat([x, x])  # each row once with either label
    assert torch.equal(leace(mirrored, (torch.arange(400) < 200).double()[:, None])(mirrored), mirrored)
    assert leace(x.float(), problem("binary")[1].float())(x.float()).dtype == torch.float32


def test_rows_that_are_not_finite_are_refused():
    x, z = problem("binary")
    x[3, 0] = torch.inf
    with pytest.raises(WorkbenchError, match="finite"):
        leace(x, z)


def test_a_probe_that_remembers_its_groups_gains_nothing_by_it():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(40).repeat_interleave(4)
    y = (torch.rand(40, generator=generator) < 0.5)[groups]
    x = torch.eye(40, dtype=torch.float64)[groups]  # tells the group, and so the label, of rows that were seen
    alone = torch.arange(160)
    assert held_out_hits(x, y, alone).double().mean() > 0.95  # rows on their own: the same group is on both sides
    assert held_out_hits(x, y, groups).double().mean() < 0.7
    told = torch.cat([x, y.double()[:, None]], dim=1)
    assert held_out_hits(told, y, groups).all()
    opposite = torch.cat([x, 1 - y.double()[:, None]], dim=1)
    assert not held_out_hits(opposite, y, groups, fitted=told).any()


def test_a_split_keeps_groups_whole_and_parts_even():
    groups = torch.tensor([5, 5, 9, 1, 1, 1, 7, 2])
    parts = split(groups, 2, seed=0)
    assert all(len(parts[groups == group].unique()) == 1 for group in groups)
    assert sorted(len(groups[parts == part].unique()) for part in (0, 1)) == [2, 3]
    assert any(not torch.equal(split(groups, 2, seed), parts) for seed in range(1, 5))
