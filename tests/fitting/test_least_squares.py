import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.edits.weight import DELTA, LEFT, RIGHT
from workbench.fitting.least_squares import Gram, Moves, Ridge, Shift, deltas

D, OUT = 12, 7


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


def rows(n, rng):
    return torch.randn(n, D, generator=rng, dtype=torch.float64)


def solved(ridge, weight):
    """W′ by the solver, for one map."""
    return weight + weight @ ridge.solve().dense()


def stacked(weight, terms, damping):
    """W′ by `torch.linalg.lstsq` on the system that (1) is, term by term."""
    scaled = [(w**0.5 * c, w**0.5 * to @ weight.T) for c, to, w in terms]
    scaled.append((damping**0.5 * torch.eye(D, dtype=torch.float64), damping**0.5 * weight.T))
    left, right = (torch.cat(parts) for parts in zip(*scaled, strict=True))
    return torch.linalg.lstsq(left, right, driver="gelsd").solution.T


@pytest.mark.parametrize("n", [1, 5, 3 * D])
@pytest.mark.parametrize("damping", [0.5, 1e-6, 40.0])
def test_the_solution_is_that_of_the_stacked_system(n, damping, rng):
    weight = torch.randn(OUT, D, generator=rng, dtype=torch.float64)
    c, a, k = rows(n, rng), rows(n, rng), rows(4, rng)
    ridge = Ridge(D, damping)
    for part in range(0, n, 2):
        ridge.move(c[part : part + 2], a[part : part + 2], 1.7)
    ridge.keep(k, 0.3)
    expected = stacked(weight, [(c, a, 1.7), (k, k, 0.3)], damping)
    assert_close(solved(ridge, weight), expected, rtol=1e-8, atol=1e-8)


def test_a_singular_system_gives_the_smallest_solution_and_says_so(rng):
    weight, c, a = torch.randn(OUT, D, generator=rng, dtype=torch.float64), rows(3, rng), rows(3, rng)
    ridge = Ridge(D, 0.0)
    ridge.move(c, a)
    with pytest.warns(UserWarning, match="singular"):
        shift = ridge.solve()
    smallest = torch.linalg.lstsq(c, (a - c) @ weight.T, driver="gelsd").solution.T
    assert_close(weight @ shift.dense(), smallest, rtol=1e-8, atol=1e-8)


def test_float32_maps_keep_their_error_bound_against_float64(rng):
    """Products are float32, the solution float64: the relative error of Δ stays below 1e-5 on an ill-conditioned A."""
    maps = {f"m{i}": torch.randn(OUT, D, generator=rng, dtype=torch.float64) for i in range(3)}
    c = rows(4, rng) * torch.logspace(0, 2, D, dtype=torch.float64)
    ridge = Ridge(D, 0.5)
    ridge.move(c, rows(4, rng))
    shift = ridge.solve()
    fine, coarse = deltas(maps, shift), deltas({name: weight.float() for name, weight in maps.items()}, shift)
    for name in maps:
        exact = fine[name + LEFT] @ fine[RIGHT] if name + LEFT in fine else fine[name + DELTA]
        found = coarse[name + LEFT] @ coarse[RIGHT] if name + LEFT in coarse else coarse[name + DELTA]
        assert (found - exact).norm() <= 1e-5 * exact.norm()


def test_few_moved_rows_give_thin_factors_and_many_give_whole_deltas(rng):
    maps = {"a": torch.randn(OUT, D, generator=rng), "b": torch.randn(2 * OUT, D, generator=rng)}
    found = {}
    for n in (2, 3 * D):
        ridge = Ridge(D, 0.1)
        c, a = rows(n, rng), rows(n, rng)
        ridge.move(c, a)
        found[n] = deltas(maps, ridge.solve())
    assert set(found[2]) == {"a" + LEFT, "b" + LEFT, RIGHT} and found[2][RIGHT].shape == (2, D)
    assert set(found[3 * D]) == {"a" + DELTA, "b" + DELTA}


@pytest.mark.parametrize("ranks", [(2, 3), (D, 4)])
def test_shifts_in_a_row_multiply(ranks, rng):
    first, second = (Shift(rows(r, rng).T, rows(r, rng)) for r in ranks)
    eye = torch.eye(D, dtype=torch.float64)
    together = first.then(second)
    assert_close(eye + together.dense(), (eye + first.dense()) @ (eye + second.dense()))
    assert together.left.shape[1] <= D


def test_nothing_to_move_no_maps_and_mixed_dtypes_are_refused(rng):
    ridge = Ridge(D, 0.5)
    ridge.keep(rows(2, rng))
    with pytest.raises(WorkbenchError, match="nothing to move"):
        ridge.solve()
    ridge.move(rows(1, rng), rows(1, rng))
    shift = ridge.solve()
    with pytest.raises(WorkbenchError, match="no maps"):
        deltas({}, shift)
    with pytest.raises(WorkbenchError, match="several dtypes"):
        deltas({"a": torch.zeros(2, D), "b": torch.zeros(2, D, dtype=torch.float16)}, shift)


def test_embeddings_that_are_not_finite_are_refused(rng):
    ridge = Ridge(D, 0.5)
    ridge.move(rows(1, rng) * torch.inf, rows(1, rng))
    with pytest.raises(WorkbenchError, match="not finite"):
        ridge.solve()


@pytest.mark.parametrize("n", [4, 3 * D], ids=["held as pairs", "held as sums"])
@pytest.mark.parametrize("m", [3, 3 * D], ids=["joining pairs", "joining sums"])
def test_moves_can_be_changed_as_a_whole_and_joined(n, m, rng):
    c, a, more, to, change = rows(n, rng), rows(n, rng), rows(m, rng), rows(m, rng), rows(D, rng)
    whole, joined = Ridge(D, 0.5), Ridge(D, 0.5)
    whole.move(torch.cat([c @ change.T, more]), torch.cat([a, to]), 1.3)
    before, other = Moves(D), Moves(D)
    before.add(c, a, 1.3)
    other.add(more, to, 1.3)
    joined.moves.join(before.through(change))
    joined.moves.join(other)
    assert_close(joined.solve().dense(), whole.solve().dense(), rtol=1e-8, atol=1e-8)


def test_problems_that_keep_the_same_share_it(rng):
    k, c, a = rows(20, rng), rows(2, rng), rows(2, rng)
    alone = Ridge(D, 0.5)
    alone.keep(k, 0.2)
    for _ in range(2):
        shared = Ridge(D, 0.5, kept=alone.kept)
        shared.move(c, a)
    alone.move(c, a)
    assert_close(shared.solve().dense(), alone.solve().dense())


def test_a_shift_of_maps_is_the_product_with_its_matrix(rng):
    maps, thin = rows(5, rng), Shift(rows(2, rng).T, rows(2, rng))
    for shift in (thin, Shift(thin.dense())):
        assert_close(shift.of(maps), maps @ (torch.eye(D, dtype=torch.float64) + thin.left @ thin.right))


def test_a_gram_matrix_is_the_sum_over_its_rows_in_whatever_pieces_they_come(rng):
    whole, gram = rows(40, rng), Gram(D)
    for part in whole.split([1, 25, 4, 10]):
        gram.add(part.float() if len(part) == 4 else part, 0.7)
    assert_close(gram.total(), 0.7 * whole.T @ whole, rtol=1e-6, atol=1e-6)
    gram.add_total(gram.total())
    assert_close(gram.total(), 1.4 * whole.T @ whole, rtol=1e-6, atol=1e-6)
    with pytest.raises(WorkbenchError, match="weight -1"):
        gram.add(whole, -1.0)
