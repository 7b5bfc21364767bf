"""Hand-derived numbers for every formula, most of them from the protocols' faithfulness checks."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from probes.statistics import (
    bootstrap_means,
    feature_drift,
    harmonic_mean,
    middle_95,
    paired_difference,
    pixel_drift,
    sign_flip_test,
    wilson,
)


def test_the_harmonic_mean_is_the_published_one() -> None:
    assert harmonic_mean([0.90, 0.80]) == pytest.approx(0.847059, abs=1e-6)
    assert harmonic_mean([0.90, 0.80, 0.70]) == pytest.approx(0.791623, abs=1e-6)
    assert harmonic_mean([0.9, 0.0]) == 0
    assert np.isnan(harmonic_mean([]))


def test_wilson_intervals_are_the_published_ones() -> None:
    assert wilson(5, 50) == pytest.approx((0.0435, 0.2136), abs=5e-5)
    assert wilson(0, 50) == pytest.approx((0, 0.0713), abs=5e-5)
    assert wilson(50, 50) == pytest.approx((1 - 0.0713, 1), abs=5e-5)
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 10), (197, 400)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    other = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((other.low, other.high), abs=1e-12)


def test_with_one_image_a_prompt_the_sign_flip_test_is_mcnemars() -> None:
    before, prompts = np.array([True] * 20 + [False] * 20), np.arange(40)
    lost_six = before.copy()
    lost_six[:6] = False
    assert sign_flip_test(before, lost_six, prompts) == pytest.approx(2 * 0.5**6)
    mixed = lost_six.copy()
    mixed[20:22] = True  # six lost, two gained: 2·P(X ≤ 2), X ~ B(8, ½)
    assert sign_flip_test(before, mixed, prompts) == pytest.approx(2 * (1 + 8 + 28) / 256)
    assert sign_flip_test(before, before, prompts) == 1


def test_images_of_one_prompt_are_no_new_evidence() -> None:
    before = np.array([True] * 40)
    after = np.array([False] * 20 + [True] * 20)
    assert sign_flip_test(before, after, np.arange(40)) == pytest.approx(2 * 0.5**20)
    assert sign_flip_test(before, after, np.arange(40) // 10) == pytest.approx(2 * 0.5**2)  # two prompts lost theirs


def test_prompts_that_differ_by_unequal_amounts_are_flipped_at_random() -> None:
    prompts = np.repeat(np.arange(6), 3)
    lost = np.array([3, 3, 2, 2, 1, 1])  # of three images each; every one of 2⁶ signs by hand
    after = np.concatenate([[False] * n + [True] * (3 - n) for n in lost])
    signs = np.array(list(product([-1, 1], repeat=6)))
    exact = np.mean(np.abs(signs @ lost) >= lost.sum())
    assert sign_flip_test(np.ones(18, bool), after, prompts) == pytest.approx(exact, abs=0.005)


def test_several_concepts_are_resampled_before_their_prompts() -> None:
    concepts, prompts = np.repeat([0, 1, 2, 3], 100), np.arange(400)
    values = (concepts % 2).astype(float)  # all prompts of a concept agree: 4 concepts are 4 observations, not 400
    spread = bootstrap_means(values, prompts, concepts=concepts, draws=4000).std()
    assert spread == pytest.approx(0.5 / np.sqrt(4), rel=0.05)
    within = (prompts % 2).astype(float)  # all concepts agree: what is left is chance among prompts, of two levels
    spread = bootstrap_means(within, prompts, concepts=concepts, draws=4000).std()
    assert spread == pytest.approx(0.5 / np.sqrt(400), rel=0.1)


def test_fits_are_resampled_below_concepts_and_above_prompts() -> None:
    concepts, fits, prompts = np.repeat([0, 1, 2, 3], 60), np.repeat(np.arange(12), 20), np.arange(240)
    by_fit = (np.arange(12) % 3 > 0)[fits].astype(float)  # alike in all concepts: 12 fits are 12 observations
    spread = bootstrap_means(by_fit, prompts, concepts=concepts, fits=fits, draws=4000).std()
    assert spread == pytest.approx(np.sqrt(2 / 9) / np.sqrt(12), rel=0.05)
    assert bootstrap_means(by_fit, prompts, concepts=concepts, draws=4000).std() < spread / 2
    within = (prompts % 2).astype(float)  # all fits agree: what is left is chance among prompts, of three levels
    spread = bootstrap_means(within, prompts, concepts=concepts, fits=fits, draws=4000).std()
    assert spread == pytest.approx(0.5 / np.sqrt(240), rel=0.1)


def test_one_fit_a_concept_is_no_level() -> None:
    values, concepts = np.random.default_rng(0).random(40), np.repeat([0, 1], 20)
    there, not_there = (bootstrap_means(values, np.arange(40), concepts=concepts, fits=own) for own in (concepts, None))
    np.testing.assert_array_equal(there, not_there)


def test_three_fits_that_differ_widen_an_interval_to_what_it_says() -> None:
    rng, fits, prompts = np.random.default_rng(0), np.repeat(np.arange(3), 17), np.arange(51)
    covered = np.zeros(2)
    for _ in range(200):
        rates = rng.beta(2, 2, 3)[fits]  # each fit has its own rate; the mean of all is ½
        values = (rng.random(51) < rates).astype(float)
        intervals = [middle_95(bootstrap_means(values, prompts, fits=level, draws=400)) for level in (fits, None)]
        covered += [low <= 0.5 <= high for low, high in intervals]
    with_level, without = covered / 200
    assert with_level > 0.8 and without < 0.65, "three are few: see `bootstrap_means`"


def test_the_bootstrap_resamples_prompts_and_not_images() -> None:
    prompts = np.repeat(np.arange(8), 50)
    values = (prompts % 2).astype(float)  # all images of a prompt agree: 8 prompts are 8 observations, not 400
    spread = bootstrap_means(values, prompts, draws=4000).std()
    assert spread == pytest.approx(0.5 / np.sqrt(8), rel=0.05)
    assert bootstrap_means(values, np.arange(400), draws=4000).std() == pytest.approx(0.5 / np.sqrt(400), rel=0.05)


def test_prompts_weigh_by_their_images() -> None:
    values, prompts = np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1])
    draws = bootstrap_means(values, prompts, draws=2000)
    assert set(draws) == {0.0, 0.75, 1.0}


def test_equal_draws_pair_two_conditions_and_other_seeds_do_not() -> None:
    rng = np.random.default_rng(1)
    before, prompts = rng.random(40), np.arange(40)
    after = before - 0.25
    paired = bootstrap_means(after, prompts) - bootstrap_means(before, prompts)
    assert middle_95(paired) == pytest.approx((-0.25, -0.25))
    apart = bootstrap_means(after, prompts, seed=1) - bootstrap_means(before, prompts)
    assert np.ptp(apart) > 0.1


def test_a_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        rates = rng.beta(2, 2, 40)  # each prompt has its own rate; the mean of all is ½
        values = (rng.random((40, 5)) < rates[:, None]).astype(float).ravel()
        low, high = middle_95(bootstrap_means(values, np.repeat(np.arange(40), 5), draws=400))
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_interval_of_a_paired_difference_is_walds_with_half_a_pair_more_in_each_cell() -> None:
    only_first, only_second, alike = 132, 107, 905
    pairs = np.array([1.0] * only_first + [-1.0] * only_second + [0.0] * alike)
    p, q = ((cell + 0.5) / (len(pairs) + 2) for cell in (only_first, only_second))
    reach = norm.ppf(0.975) * np.sqrt((p + q - (p - q) ** 2) / (len(pairs) + 2))
    assert paired_difference(pairs) == pytest.approx((p - q - reach, p - q + reach))
    assert paired_difference(np.zeros(50)) == pytest.approx((-0.0377, 0.0377), abs=1e-4)
    assert np.isnan(paired_difference(np.zeros(0))).all()


@pytest.mark.parametrize(("only_first", "only_second"), [(0.02, 0.02), (0.25, 0.05), (0.4, 0.0)])
def test_the_interval_of_a_paired_difference_covers_the_truth(only_first: float, only_second: float) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        pairs = rng.choice([1.0, -1.0, 0.0], 40, p=[only_first, only_second, 1 - only_first - only_second])
        low, high = paired_difference(pairs)
        covered += low <= only_first - only_second <= high
    assert covered / 1000 > 0.93


def test_pixel_drift_is_a_root_mean_square_in_units_of_full_range() -> None:
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    assert pixel_drift(black, white) == pytest.approx([1])
    assert pixel_drift(white, black) == pytest.approx([1])  # no wrap-around of uint8
    half = black.copy()
    half[0, 0] = 255
    assert pixel_drift(black, half) == pytest.approx([np.sqrt(0.5)])
    assert pixel_drift(half, half) == 0


def test_feature_drift_is_one_minus_cosine() -> None:
    before = np.array([[1.0, 0], [1, 0], [1, 0], [3, 4], [0, 0]])
    after = np.array([[2.0, 0], [0, 5], [-1, 0], [3, 4], [0, 0]])
    assert feature_drift(before, after) == pytest.approx([0, 1, 2, 0, 0])
