"""The arithmetic of studies, against other ways to compute it and against simulated truths."""

from itertools import combinations
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.studies.statistics import Needed, estimate, holm, needed, p_value


def closed_testing(p_values):
    """Holm from the closure principle: a hypothesis falls if every set that holds it falls by Bonferroni."""
    everyone = range(len(p_values))
    sets = [some for size in range(1, len(p_values) + 1) for some in combinations(everyone, size)]
    return [max(min(1.0, len(some) * min(p_values[j] for j in some)) for some in sets if i in some) for i in everyone]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p_values):
    np.testing.assert_allclose(holm(p_values), closed_testing(p_values), atol=1e-12)


def test_the_bootstrap_has_the_variance_of_a_two_way_mean():
    """Var θ* = Var(rows)/P' + Var(columns)/K + the rest/(P'K), with P' = P + 2 rows: by hand, in float64."""
    d = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=(12, 4))
    padded = np.vstack([d, np.ones(4), -np.ones(4)])
    rows, columns = padded.mean(axis=1), padded.mean(axis=0)
    rest = padded - rows[:, None] - columns[None] + padded.mean()
    expected = rows.var() / 14 + columns.var() / 4 + rest.var() / (14 * 4)
    found = estimate(d, alpha=0.05, seed=3)
    assert found.draws.var() == pytest.approx(expected, rel=0.05)
    assert found.draws.mean() == pytest.approx(padded.mean(), abs=0.005)
    assert found.value == d.mean() and found.prompts == 12


def test_control_draws_that_differ_widen_the_interval():
    same, mixed = np.full((30, 4), 0.5), np.tile([0.0, 0.0, 1.0, 1.0], (30, 1))
    narrow, wide = (estimate(d, alpha=0.05, seed=0) for d in (same, mixed))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_five_of_five_prompts_are_no_certainty():
    few, many = (estimate(np.ones((n, 1)), alpha=0.05, seed=0) for n in (5, 60))
    assert few.low < 0.2 < 0.8 < many.low and few.value == many.value == 1


@pytest.mark.parametrize("margin", [0.2, -0.1])
def test_the_p_value_counts_the_draws_beyond_the_margin(margin):
    draws = np.linspace(-1, 1, 999)
    beyond = min((draws <= margin).sum(), (draws >= margin).sum())
    assert p_value(draws, margin) == pytest.approx(2 * (1 + beyond) / 1000)
    assert p_value(draws, 0.0) == 1.0 and p_value(draws, 2.0) == pytest.approx(2 / 1000)


def simulated(share, n, studies, rng):
    """Studies of n prompts in which a share of prompts loses the concept."""
    for _ in range(studies):
        yield estimate((rng.random((n, 1)) < share).astype(float), alpha=0.05, seed=0)


def test_an_effect_that_equals_the_margin_is_rarely_called_decided():
    """The two-sided test at 5 % errs in about 5 % of studies; 8 % leaves room for 400 simulations."""
    found = [p_value(each.draws, 0.3) <= 0.05 for each in simulated(0.3, 30, 400, np.random.default_rng(1))]
    assert np.mean(found) <= 0.08


def test_the_number_of_prompts_that_is_asked_for_decides_in_about_eight_of_ten_studies():
    rng = np.random.default_rng(2)
    pilot = estimate(np.array([[1.0]] * 40 + [[0.0]] * 60), alpha=0.05, seed=0)  # 40 %
    n = int(needed(pilot, 0.2, alpha=0.05, tests=1).prompts)
    decided = np.mean([p_value(each.draws, 0.2) <= 0.05 for each in simulated(0.4, n, 300, rng)])
    assert 40 < n < 70 and 0.7 <= decided <= 0.92
    assert needed(pilot, 0.2, alpha=0.05, tests=4).prompts > n
    assert needed(pilot, 0.4, alpha=0.05, tests=1) == Needed(inf, 1)


def test_no_effect_at_all_is_excluded_with_the_prompts_that_are_asked_for_and_not_with_half_of_them():
    nothing = [estimate(np.zeros((n, 1)), alpha=0.05, seed=0) for n in range(4, 40)]
    n = int(needed(nothing[0], 0.2, alpha=0.05, tests=1).prompts)
    assert p_value(nothing[n - 4].draws, 0.2) < 0.05 < p_value(nothing[n // 2 - 4].draws, 0.2)


def test_where_control_draws_differ_more_of_them_are_asked_for_and_decide():
    """Half of the draws do all, half nothing: no number of prompts tells 0.5 ± 0.25 of four draws from 0.2."""
    pilot = estimate(np.tile([0.0, 0.0, 1.0, 1.0], (40, 1)), alpha=0.05, seed=0)
    assert pilot.between == pytest.approx(pilot.draws.var(), rel=0.2)
    asked = needed(pilot, 0.2, alpha=0.05, tests=1)
    assert asked.controls > 4 and asked.prompts < 200
    more = np.tile([0.0, 1.0], (int(asked.prompts), asked.controls // 2))
    assert p_value(estimate(more, alpha=0.05, seed=0).draws, 0.2) < 0.05 < p_value(pilot.draws, 0.2)
