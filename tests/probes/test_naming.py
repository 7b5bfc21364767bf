"""Features are called after the factor that they detect best, judged on items that had no part in the choice."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score

from probes.naming import detection, judgeable, name_features
from saes.errors import WorkbenchError


def distinct(n):
    return [f"prompt {i}" for i in range(n)]


@pytest.fixture
def world():
    """400 items with three factors; features: fox exactly, a weak fox below half its own height, dog or noise, dead."""
    rng = np.random.default_rng(0)
    factors = pd.DataFrame({name: rng.random(400) < 0.3 for name in ("fox", "dog", "red")})
    fox, dog = (torch.tensor(factors[name].to_numpy()).float() for name in ("fox", "dog"))
    noise = torch.tensor(rng.random(400)).float()
    scores = torch.stack([2 * fox, 4 * fox + noise, dog.maximum((noise > 0.7).float()), torch.zeros(400)], dim=1)
    return scores, factors, distinct(400)


def test_detection_is_precision_recall_and_f1_of_scikit_learn():
    rng = np.random.default_rng(1)
    fires, factors = rng.random((50, 4)) < 0.4, rng.random((50, 3)) < 0.5
    found = detection(torch.tensor(fires), torch.tensor(factors))
    for f in range(4):
        for y in range(3):
            for value, score in zip(found, (precision_score, recall_score, f1_score), strict=True):
                assert float(value[f, y]) == pytest.approx(score(factors[:, y], fires[:, f]), abs=1e-12)


def test_what_never_fires_detects_nothing():
    found = detection(torch.zeros(5, 2, dtype=torch.bool), torch.ones(5, 1, dtype=torch.bool))
    assert all((value == 0).all() for value in found)


def test_each_feature_gets_its_factor_and_dead_ones_none(world):
    table = name_features(*world)
    assert table.feature.tolist() == [0, 1, 2]
    assert table.factor.tolist() == ["fox", "fox", "dog"]
    assert table.f1[:2].tolist() == [1.0, 1.0]
    assert table.share[1] > 0, "the noise is below a quarter of its height"
    assert 0.4 < table.precision[2] < 0.8 and table.recall[2] == 1.0


def test_shuffled_factors_are_detected_no_better_than_by_chance(world):
    table = name_features(*world)
    always = 2 * 0.3 / 1.3  # F₁ of a detector that always says yes
    assert (table.control < always + 0.12).all() and (table.f1 > table.control + 0.1).all()


def test_figures_come_from_the_half_that_had_no_part_in_the_choice():
    """A feature that fires on one item: its factor on that item is found, and counts only if it holds elsewhere."""
    rng = np.random.default_rng(2)
    factors = pd.DataFrame({f"f{i}": rng.random(100) < 0.5 for i in range(20)})
    noise = torch.tensor(rng.random((100, 300)) < 0.5).float()
    table = name_features(noise, factors, distinct(100))
    on_the_same = detection(noise > 0, torch.tensor(factors.to_numpy())).f1.amax(dim=1)
    assert table.f1.mean() < float(on_the_same.mean()) - 0.05
    assert table.f1.mean() == pytest.approx(table.control.mean(), abs=0.03)


def test_a_prompt_that_stands_twice_is_not_judged_by_what_was_chosen_on_it():
    """Each feature fires on the items of one prompt, and half of the prompts have each factor."""
    prompt = torch.arange(20).repeat(10)
    scores = (prompt[:, None] == torch.arange(20)).float()
    factors = pd.DataFrame({f"f{i}": (prompt % 2 == i).numpy() for i in (0, 1)})
    apart = name_features(scores, factors, distinct(200))
    assert len(apart) == 20 and (apart.f1 > 0).all(), "items on their own: every prompt is on both sides"
    assert name_features(scores, factors, [f"prompt {number}" for number in prompt]).empty, (
        "no feature fires on both sides"
    )


def test_factors_that_tell_nothing_apart_are_refused(world):
    scores, factors, prompts = world
    with pytest.raises(WorkbenchError, match="every one has the factor 'all'"):
        name_features(scores, factors.assign(all=True), prompts)
    with pytest.raises(WorkbenchError, match="no one has the factor 'none'"):
        name_features(scores, factors.assign(none=False), prompts)
    with pytest.raises(WorkbenchError, match="400 items and factors of 3"):
        name_features(scores, factors.head(3), prompts)


def test_what_is_left_out_is_what_would_be_refused(world):
    scores, factors, prompts = world
    once = factors.assign(once=[True] + [False] * 399, all=True, nearly=[False] + [True] * 399)
    kept = judgeable(once, prompts, seed=0)
    assert list(kept) == list(factors) and kept.equals(factors)
    name_features(scores, kept, prompts)
    for name in ("once", "all", "nearly"):
        with pytest.raises(WorkbenchError, match=name):
            name_features(scores, once[[*factors, name]], prompts)
