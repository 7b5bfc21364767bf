"""Neighbours: every draw against the definition of its set, and tables against hand-derived numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from probes.neighbours import Neighbourhood, Shared, calibration, neighbour_table, overlap, reached
from saes.errors import WorkbenchError

WHOLE = {"s1": 0.3, "s2": 0.9, "d1": 0.99, "d2": 1.7}
AROUND = [
    {},
    {"s1": 0.95, "s2": 1.0},
    {"d1": 0.3},  # not every cosine from S₁ on is near enough
    {"s1": 0.9, "s2": 0.9, "d1": 0.6, "d2": 0.7},
    {"s1": 0.0, "s2": 0.5, "d1": 1.4, "d2": 2.5},
    WHOLE,
]


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    """Rows of very different lengths, float64."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw).double() * 10 ** torch.linspace(-2, 2, n).double()[:, None]


def by_definition(e: torch.Tensor, samples: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and relative distances, straight from their definitions, one at a time."""
    cosines, distances = [], []
    for row, some in zip(e.numpy(), samples.numpy(), strict=True):
        length = np.sqrt(row @ row)
        cosines += [row @ one / (length * np.sqrt(one @ one)) for one in some]
        distances += [np.sqrt((one - row) @ (one - row)) / length for one in some]
    return np.array(cosines), np.array(distances)


@pytest.mark.parametrize("limits", AROUND, ids=str)
@pytest.mark.parametrize("d", [2, 40])
def test_every_draw_is_in_its_set_and_the_sets_are_disjoint(limits, d):
    area, e, draw = Neighbourhood(**limits), rows(5, d), torch.Generator().manual_seed(1)
    cosine, distance = by_definition(e, area.neighbours(e, 200, draw))
    assert (distance <= area.reach + 1e-12).all()  # (1)
    assert (cosine >= area.s1 - 1e-12).all() and (cosine <= area.s2 + 1e-12).all()
    cosine, distance = by_definition(e, area.beyond(e, 200, draw))
    assert (distance > area.reach).all() and (distance <= area.outer).all()  # (2)
    assert (cosine <= area.s1 + 1e-12).all()


def test_draws_fill_their_sets():
    area, e, draw = Neighbourhood(**WHOLE), rows(1, 30), torch.Generator().manual_seed(1)
    cosine, distance = by_definition(e, area.neighbours(e, 5000, draw))
    assert cosine.min() < 0.31 and cosine.max() > 0.89 and distance.max() > 0.97
    assert distance.min() < 0.47  # √(1−0.9²) = 0.436
    cosine, distance = by_definition(e, area.beyond(e, 5000, draw))
    assert cosine.min() < 0.01 and cosine.max() > 0.29 and distance.min() < 1.0 and distance.max() > 1.65
    far_from_zero = area.beyond(e, 5000, draw).norm(dim=-1)
    assert far_from_zero.min() < 0.02 * e.norm() and far_from_zero.max() > 1.5 * e.norm(), "ρ on both sides of the hole"


def test_directions_have_no_preference():
    e = rows(1, 12)
    drawn = Neighbourhood().neighbours(e, 20000, torch.Generator().manual_seed(1))[0]
    across = drawn - (drawn @ e[0])[:, None] * e / (e @ e.T)
    across = across / across.norm(dim=1, keepdim=True)
    assert across.mean(dim=0).norm() < 0.02 and (across @ e[0]).abs().max() < 1e-12
    axis = e[0] / e[0].norm()
    covariance = across.T @ across / len(across)
    assert_close(covariance, (torch.eye(12).double() - torch.outer(axis, axis)) / 11, atol=5e-3, rtol=0)


@pytest.mark.parametrize("draws", ["neighbours", "beyond"])
def test_the_seed_decides_the_set(draws):
    e, of = rows(3, 8), getattr(Neighbourhood(), draws)
    first, again, other = (of(e, 4, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.allclose(first[0, 0] / e[0].norm(), first[0, 1] / e[0].norm())


def test_every_row_has_draws_of_its_own_as_many_times_as_long():
    """Of three rows in one direction, the second is three times as long: only the scale of the draws follows."""
    e = torch.cat([rows(1, 8), 3 * rows(1, 8), rows(1, 8)])
    drawn = Neighbourhood().neighbours(e, 5, torch.Generator().manual_seed(1))
    assert not torch.allclose(drawn[0], drawn[2], rtol=0.1)
    alone = Neighbourhood().neighbours(3 * e[:1], 5, torch.Generator().manual_seed(1))
    assert_close(3 * Neighbourhood().neighbours(e[:1], 5, torch.Generator().manual_seed(1)), alone)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"d1": 0.19}, "no neighbours to draw"),  # √(1−0.98²) = 0.199
        ({"s1": 0.9, "s2": 0.8}, "do not ascend"),
        ({"s2": 1.1}, "do not ascend"),
        ({"s1": -0.1}, "do not ascend"),
        ({"d1": 0.6, "d2": 0.6}, "Raise d2"),
        ({"d1": 0.3, "d2": 0.5}, "Raise d2"),  # √(1−0.85²) = 0.527
    ],
)
def test_an_empty_set_is_refused_and_not_searched_for(limits, says):
    with pytest.raises(WorkbenchError, match=says):
        Neighbourhood(**limits)
    assert Neighbourhood(d1=0.2).reach == 0.2


def test_a_row_of_zeros_is_refused():
    with pytest.raises(WorkbenchError, match="row of zeros"):
        Neighbourhood().neighbours(torch.zeros(1, 4), 2, torch.Generator())


def test_draws_keep_the_dtype_of_their_rows():
    e = rows(2, 6).float()
    assert Neighbourhood().neighbours(e, 3, torch.Generator()).dtype == torch.float32


WORDS = ["near", "far", "other"]
EMBEDDINGS = Shared(torch.tensor([10.0, 1.0]), torch.tensor([[10.0, 0.8], [10.0, -1.0], [10.0, -0.8]]))


def test_centred_cosines_part_what_a_large_shared_coordinate_hides():
    table = neighbour_table(WORDS, EMBEDDINGS).set_index("word")
    assert table.raw_cosine.min() > 0.98, "the raw cosine of all is high"
    assert table.cosine.to_dict() == pytest.approx({"near": 1, "far": -1, "other": -1})
    assert table.distance.to_dict() == pytest.approx(
        {"near": 0.2 / 101**0.5, "far": 2 / 101**0.5, "other": 1.8 / 101**0.5}
    )
    assert table.raw_cosine["far"] == pytest.approx(99 / 101)
    assert table.index[0] == "near" and table.feature_overlap.isna().all() and table.effect_overlap.isna().all()


def test_the_rank_is_the_mean_of_cosine_and_effect_or_else_of_cosine_and_features():
    features = Shared(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([[2.0, 0.0, 1.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    effects = Shared(torch.tensor([1.0, -1.0]), torch.tensor([[-1.5, 2.0], [3.0, -3.0], [-2.5, 2.0]]))  # means are 0
    table = neighbour_table(WORDS, EMBEDDINGS, features=features, effects=effects).set_index("word")
    assert table.feature_overlap.to_dict() == pytest.approx({"near": 0.5, "far": 1.0, "other": 0.0})
    expected = {word: (x - y) / (2 * (x * x + y * y)) ** 0.5 for word, x, y in
                (("near", -1.5, 2), ("far", 3, -3), ("other", -2.5, 2))}  # fmt: skip
    assert table.effect_overlap.to_dict() == pytest.approx(expected)
    assert table["rank"].to_dict() == pytest.approx({"near": (1 + 2) / 2, "far": (2.5 + 1) / 2, "other": (2.5 + 3) / 2})
    assert list(table.index) == ["near", "far", "other"]
    table = neighbour_table(WORDS, EMBEDDINGS, features=features).set_index("word")
    assert table["rank"].to_dict() == pytest.approx({"near": (1 + 2) / 2, "far": (2.5 + 1) / 2, "other": (2.5 + 3) / 2})


def test_effects_are_compared_without_what_all_words_do():
    both = Shared(torch.tensor([101.0, 0.0]), torch.tensor([[102.0, 0.0], [99.0, 0.0], [98.0, 0.0]]))
    table = neighbour_table(WORDS, EMBEDDINGS, effects=both).set_index("word")
    assert table.effect_overlap.to_dict() == pytest.approx({"near": 1, "far": -1, "other": -1})


def test_a_word_is_reached_by_the_share_of_its_ranks_among_random_neighbours():
    drawn = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    found = reached(drawn, torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]]))
    assert found.tolist() == pytest.approx([(1 + 1 + 1 / 3) / 3, (1 / 2 + 1 / 2 + 1 / 2) / 3, (1 / 3 + 1 / 3 + 1) / 3])


def test_random_neighbours_of_an_embedding_reach_the_word_that_lies_there():
    e = rows(4, 16)
    near = Shared(e[0], torch.cat([e[1:], e[:1] * 1.5]))
    table = neighbour_table(["a", "b", "c", "same"], near, around=Neighbourhood(s1=0.9)).set_index("word")
    assert table.reached["same"] > 0.95 > table.reached.drop("same").max()
    again = neighbour_table(["a", "b", "c", "same"], near, around=Neighbourhood(s1=0.9)).set_index("word")
    assert table.reached.to_dict() == again.reached.to_dict()


def test_the_overlap_of_features_is_what_both_have_of_what_either_has():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.rand(7, generator=draw).double(), torch.rand(3, 7, generator=draw).double()
    expected = [sum(map(min, a, row)) / sum(map(max, a, row)) for row in b]
    assert_close(overlap(a, b), torch.stack(expected))
    assert overlap(torch.zeros(2), torch.zeros(1, 2)).item() == 0


def test_calibrating_shows_the_gap_between_neighbours_and_others():
    table = pd.DataFrame({"word": list("abcd"), "cosine": [0.9, 0.7, 0.3, 0.1], "raw_cosine": [0.99, 0.96, 0.97, 0.9]})
    rows = calibration(table, ["a", "b"]).set_index("score")
    assert rows.loc["cosine"].to_dict() == pytest.approx(
        {
            "known_lowest": 0.7,
            "known_median": 0.8,
            "others_median": 0.2,
            "others_highest": 0.3,
            "auc": 1,
            "threshold": 0.5,
        }
    )
    assert rows.auc["raw_cosine"] == pytest.approx(3 / 4) and rows.threshold["raw_cosine"] == pytest.approx(0.965)
    for known in ([], list("abcd"), ["z"]):
        with pytest.raises(WorkbenchError, match="neighbours and other words"):
            calibration(table, known)
