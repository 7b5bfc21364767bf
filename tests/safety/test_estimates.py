"""Estimates over prompts: hand-made counts, and intervals that cover what they should in simulations."""

import numpy as np
import pytest

from probes.statistics import middle_95, resamplings
from workbench.safety.estimates import Estimate, Seen, class_counts, divergence, mean_of, share
from workbench.safety.metrics import nkl


def seen(after, before=None, prompts=None):
    after = np.array(after)
    prompts = np.arange(len(after)) if prompts is None else np.array(prompts)
    return Seen(after, after if before is None else np.array(before), prompts)


def test_pictures_are_counted_by_prompt_and_class_and_those_not_read_nowhere():
    counts = class_counts(np.array([0, 1, -1, 1, 1]), 2, np.array([0, 0, 0, 2, 2]))
    assert counts.tolist() == [[1, 1], [0, 0], [0, 2]]


def test_a_share_is_of_what_was_read_and_its_change_of_the_same_prompts():
    found = share(seen([0, 0, 1, -1], [1, 0, 1, 1]), 0, 2)
    assert found.value == pytest.approx(2 / 3) and found.unedited == 0.25
    assert found.difference == pytest.approx(2 / 3 - 1 / 4)
    assert (found.n, found.asked, found.prompts) == (3, 4, 4)


def test_fifty_safe_pictures_do_not_prove_that_all_are():
    found = share(seen([0] * 50), 0, 2)
    assert found.value == 1 and found.low == pytest.approx(0.929, abs=1e-3)
    assert found.difference == 0 and found.difference_low < 0 < found.difference_high


def test_pictures_of_one_prompt_are_one_observation():
    alone = share(seen([0, 1] * 20), 0, 2)
    together = share(seen([0, 1] * 20, prompts=[0, 1] * 20), 0, 2)
    assert alone.value == together.value and alone.high - alone.low < together.high - together.low


def test_nothing_read_is_no_figure():
    for found in (share(seen([-1, -1]), 0, 2), divergence(seen([-1, -1]), 2)):
        assert np.isnan([found.value, found.low, found.high]).all() and found.n == 0


def test_the_divergence_of_hand_made_counts():
    found = divergence(seen([0] * 75 + [1] * 25), 2)
    assert found.value == pytest.approx(0.188722, abs=1e-6) and found.low < found.value < found.high
    assert found.difference == 0 and found.difference_low < 0 < found.difference_high


def test_the_interval_of_a_divergence_holds_that_of_a_fair_generator():
    rng, covered, as_drawn = np.random.default_rng(0), 0, 0
    for _ in range(60):
        codes = rng.integers(0, 4, 96)
        found = divergence(seen(codes, prompts=np.arange(96) // 2), 4)
        covered += found.low <= 1e-12
        counts = class_counts(codes, 4, np.arange(96) // 2)
        as_drawn += middle_95(nkl(resamplings(48) @ counts)).low <= 1e-12
    assert covered >= 55 and as_drawn == 0, "draws alone never reach the truth"


def test_the_interval_of_a_change_knows_that_few_prompts_changed():
    rng, covered = np.random.default_rng(0), 0
    truth = float(nkl(np.array([0.715, 0.285])) - nkl(np.array([0.7, 0.3])))
    for _ in range(60):
        before = (rng.random(48) < 0.3).astype(int)
        after = np.where(rng.random(48) < 0.95, before, 0)  # 5 % become the first class
        found = divergence(seen(after, before, np.arange(48) // 2), 2)
        covered += found.difference_low <= truth <= found.difference_high
    assert covered >= 55


def test_a_mean_has_the_ends_of_its_parts():
    parts = [
        Estimate(0.5, 0.4, 0.6, 0.5, 0.0, -0.1, 0.1, 10, 10, 10),
        Estimate(1.0, 0.7, 1.0, 0.0, 1.0, 0.8, 1.0, 30, 30, 30),
    ]
    plain, weighted = mean_of(parts, [1.0, 1.0]), mean_of(parts, [10.0, 30.0])
    assert plain.value == 0.75 and weighted.value == 0.875 and weighted.n == 40
    assert plain.low == pytest.approx(0.75 - np.hypot(0.1, 0.3) / 2) and plain.high == pytest.approx(0.75 + 0.1 / 2)


SHARES = ((0.5, 0.5), (0.6, 0.4), (0.75, 0.25), (0.25,) * 4, (0.4, 0.3, 0.2, 0.1), (1 / 7,) * 7,
          (0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.01))  # fmt: skip
EDITS = (  # shares before, and of the pictures that an edit draws anew
    ((0.5, 0.5), (0.5, 0.5)), ((0.7, 0.3), (0.7, 0.3)), ((0.5, 0.5), (0.9, 0.1)), ((0.7, 0.3), (1.0, 0.0)),
    ((0.25,) * 4, (0.25,) * 4), ((0.4, 0.3, 0.2, 0.1), (0.4, 0.3, 0.2, 0.1)), ((0.25,) * 4, (0.7, 0.1, 0.1, 0.1)),
    ((0.9, 0.1), (0.1, 0.9)),
)  # fmt: skip
REPEATS = 120


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [24, 48, 250])
@pytest.mark.parametrize("p", SHARES, ids=str)
def test_intervals_of_a_divergence_cover_it(p, prompts):
    rng, truth, covered = np.random.default_rng(0), float(nkl(np.array(p))), 0
    for _ in range(REPEATS):
        found = divergence(seen(rng.choice(len(p), 2 * prompts, p=p), prompts=np.arange(2 * prompts) // 2), len(p))
        covered += found.low - 1e-9 <= truth <= found.high
    assert covered / REPEATS >= 0.82


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.8, 0.95])
@pytest.mark.parametrize("prompts", [24, 100])
@pytest.mark.parametrize(("p", "q"), EDITS, ids=str)
def test_intervals_of_a_change_cover_it(p, q, prompts, kept):
    rng, covered = np.random.default_rng(0), 0
    after = kept * np.array(p) + (1 - kept) * np.array(q)
    truth = float(nkl(after) - nkl(np.array(p)))
    for _ in range(REPEATS):
        before = rng.choice(len(p), 2 * prompts, p=p)
        anew = np.where(rng.random(2 * prompts) < kept, before, rng.choice(len(p), 2 * prompts, p=q))
        found = divergence(seen(anew, before, np.arange(2 * prompts) // 2), len(p))
        covered += found.difference_low - 1e-9 <= truth <= found.difference_high + 1e-9
    assert covered / REPEATS >= 0.9
