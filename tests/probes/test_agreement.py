"""Agreement against independent solutions: scikit-learn's κ, scipy's Wilson, coverage when things come in clusters."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from probes.agreement import agreement, clustered_wilson, cohen_kappa
from probes.statistics import wilson


def raters(n, agree, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.4
    return first, np.where(rng.random(n) < agree, first, ~first)


@pytest.mark.parametrize("agree", [0.1, 0.5, 0.9])
def test_kappa_is_that_of_scikit_learn(agree):
    first, second = raters(300, agree)
    found = agreement(first, second, np.arange(300))
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert found.rate == np.mean(first == second)
    assert found.kappa_low < found.kappa < found.kappa_high and found.low < found.rate < found.high


def test_kappa_tells_agreement_from_chance():
    assert cohen_kappa(np.array([25, 25, 25, 25])) == 0  # two coins agree half of the time
    assert cohen_kappa(np.array([20, 5, 10, 15])) == pytest.approx(0.4)  # p = .7, e = .5
    assert cohen_kappa(np.array([0, 50, 50, 0])) == -1
    assert np.isnan(cohen_kappa(np.array([10, 0, 0, 0]))), "both always say yes: nothing but chance"


def test_single_things_have_about_wilsons_interval_and_repeated_ones_a_wider_one():
    hits = np.random.default_rng(1).random(200) < 0.8
    alone = clustered_wilson(hits, np.arange(200))
    assert alone == pytest.approx(wilson(int(hits.sum()), 200), abs=0.01)
    repeated = clustered_wilson(np.repeat(hits, 5), np.repeat(np.arange(200), 5))
    assert repeated == pytest.approx(alone, abs=0.005), "five copies of each thing tell no more"
    assert wilson(5 * int(hits.sum()), 1000).low > repeated.low + 0.02, "which Wilson's alone does not know"


def test_raters_who_never_differed_might_have():
    first = np.arange(40) % 2 == 0
    found = agreement(first, first, np.arange(40) // 4)
    assert (found.rate, found.high, found.kappa, found.kappa_high) == pytest.approx((1, 1, 1, 1))
    assert found.low == pytest.approx(wilson(10, 10).low) and found.clusters == 10
    assert found.kappa_low == pytest.approx((found.low - 0.5) / 0.5)


def test_kappa_says_nothing_where_nearly_all_answers_are_one():
    first, second = np.ones(80, dtype=bool), np.arange(80) > 0
    found = agreement(first, second, np.arange(80))
    assert (
        found.rate == 79 / 80
        and found.kappa == pytest.approx(0)
        and (found.kappa_low, found.kappa_high > 0.8) == (-1, True)
    )


def test_what_cannot_be_said_is_nan():
    always = np.ones(20, dtype=bool)
    found = agreement(always, always, np.arange(20))
    assert found.rate == 1 and np.isnan([found.kappa, found.kappa_low, found.kappa_high]).all()
    none = agreement(always[:0], always[:0], np.arange(0))
    assert none.n == 0 and np.isnan(none.rate)


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_intervals_hold_the_truth_although_things_come_in_clusters(share):
    """A cluster agrees as a whole: of 30 clusters of 6, the interval of the rate covers in 90 % and more."""
    covered, naive = [], []
    for seed in range(200):
        same = np.repeat(np.random.default_rng(seed).random(30) < share, 6)
        first = np.random.default_rng(seed + 10_000).random(180) < 0.5
        found = agreement(first, np.where(same, first, ~first), np.repeat(np.arange(30), 6), seed=seed)
        covered.append(found.low <= share <= found.high)
        low, high = wilson(int(same.sum()), 180)
        naive.append(low <= share <= high)
    assert np.mean(covered) >= 0.9 > np.mean(naive) + 0.2
