"""The simplex projection against a sort-based one in float64; one-hot draws whose gradient goes straight through."""

import pytest
import torch
from torch.testing import assert_close

from workbench.attacks.simplex import drawn, one_hot, projected


def by_sorting(row):
    """The projection of Duchi et al. (2008), which sorts instead of bisecting."""
    high = row.sort(descending=True).values
    excess = high.cumsum(0) - 1
    size = int((high - excess / torch.arange(1, len(row) + 1) > 0).nonzero().max()) + 1
    return (row - excess[size - 1] / size).clamp(min=0)


def rows(n=6, vocabulary=400, scale=1.0, seed=0):
    return scale * torch.randn(n, vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1e-4, 0.01, 1.0, 100.0])
def test_the_projection_is_that_of_a_solver_that_sorts(scale):
    a = rows(scale=scale) + 3.0
    wanted = torch.stack([by_sorting(row) for row in a])
    assert (wanted > 0).sum(dim=1).float().mean() < 400 or scale == 1e-4
    assert_close(projected(a), wanted, rtol=0, atol=1e-12)


def test_rows_come_to_lie_on_the_simplex_in_float32_and_with_a_real_vocabulary():
    a = (1 / 49408 + 0.01 * rows(3, 49408).sign()).float()  # one step of Adam from the uniform start
    u = projected(a)
    assert u.dtype == torch.float32 and u.min() >= 0 and u.max() <= 1
    assert_close(u.double().sum(dim=1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-4)


def test_a_point_of_the_simplex_stays():
    uniform, corner = torch.full((1, 7), 1 / 7, dtype=torch.float64), torch.eye(7, dtype=torch.float64)
    inner = rows(5, 7).softmax(dim=1)
    for point in (uniform, corner, inner):
        assert_close(projected(point), point, rtol=0, atol=1e-15)


def test_what_is_ruled_out_stays_out_whatever_the_others_are():
    a = rows(2, 5)
    a[:, [0, 3]] = -torch.inf
    u = projected(a)
    assert u[:, [0, 3]].eq(0).all()
    assert_close(u[:, [1, 2, 4]], torch.stack([by_sorting(row) for row in a[:, [1, 2, 4]]]), rtol=0, atol=1e-12)


def test_many_rows_at_once_are_each_as_if_alone():
    a = rows(8, 50).view(2, 4, 50)
    alone = torch.stack([torch.stack([projected(row) for row in part]) for part in a])
    assert torch.equal(projected(a), alone)


def test_forward_is_one_hot_and_the_gradient_is_cut_and_goes_straight_through():
    u = rows(4, 9).softmax(dim=1).requires_grad_()
    table = 2 * rows(9, 3, seed=1)
    ids = drawn(u, torch.Generator().manual_seed(0))
    hot = one_hot(u, ids)
    assert torch.equal(hot @ table, table[ids])
    upstream = rows(4, 3, seed=2)
    (hot @ table).backward(upstream)
    wanted = upstream @ table.T
    assert wanted.abs().max() > 1 > wanted.abs().min(), "some entries are cut, others are not"
    assert_close(u.grad, wanted.clamp(-1, 1))


def test_ids_are_drawn_as_often_as_the_distribution_says():
    u = torch.tensor([[0.7, 0.0, 0.3]], dtype=torch.float64).expand(4000, 3)
    counts = drawn(u, torch.Generator().manual_seed(0)).bincount(minlength=3) / 4000
    assert counts[1] == 0 and abs(float(counts[0]) - 0.7) < 0.03
