"""Searching and sorting an index of features."""

import numpy as np
import pandas as pd
import pytest

from workbench.dashboard.searching import PAGE, search

INDEX = pd.DataFrame(
    [
        ("a", 0, "", "fox red", "fox", 0.99, 0.10, 5.0),
        ("a", 1, "the fox", "cat", "cat", 0.70, 0.00, 0.0),
        ("a", 2, "", "foxglove", "", np.nan, 0.30, 9.0),
        ("a", 3, "", "on fox", "pear", 0.80, 0.20, 1.0),
        ("b", 2, "", "", "fox", 0.90, 0.05, 2.0),
    ],
    columns=["sae", "feature", "name", "words", "concept", "auc", "density", "largest"],
)


def found(query="", **more):
    rows = search(INDEX, query, **more).rows
    return list(zip(rows["sae"], rows["feature"], strict=True))


def test_names_count_most_then_concepts_then_whole_words_then_parts():
    assert found("fox") == [("a", 0), ("b", 2), ("a", 1), ("a", 3), ("a", 2)]
    assert found(" FOX ") == found("fox") and found("wolf") == []


def test_a_number_finds_that_feature_of_every_sae():
    assert found("2") == found("#2") == [("a", 2), ("b", 2)]
    assert found("2", sae="b") == [("b", 2)]


def test_sorting_by_density_and_by_score():
    assert [feature for _, feature in found(sae="a", sort="density")] == [2, 3, 0, 1]
    assert [feature for _, feature in found(sae="a", sort="score")] == [0, 3, 1, 2]  # without a score last


def test_signs_in_a_query_are_signs():
    assert found("f.x") == [] and found("(") == []


@pytest.mark.parametrize(("page", "first", "rows"), [(1, 0, PAGE), (3, 2 * PAGE, 10), (99, 2 * PAGE, 10)])
def test_pages_hold_a_few_features_and_a_page_too_far_is_the_last(page, first, rows):
    many = pd.concat([INDEX.iloc[:1].assign(feature=number) for number in range(2 * PAGE + 10)])
    result = search(many, page=page)
    assert (result.total, result.pages, len(result.rows)) == (2 * PAGE + 10, 3, rows)
    assert result.rows["feature"].iloc[0] == first
