"""Rankings of neighbours are held against the world's own relatives."""

import pandas as pd
import pytest

import workbench as wb
from workbench.activations.autoencoders import open_sae
from workbench.toy.relatives import RANKINGS, neighbour_precision, relatives, summary


def test_relatives_are_synonyms_and_the_concept_of_the_same_shape():
    assert relatives("fox") == ("vixen", "reynard", "cat", "kitty", "tomcat")
    assert relatives("mira voss") == ("voss", "bruno hale", "hale")


def test_precision_counts_relatives_among_as_many_first_words():
    table = pd.DataFrame({
        "kind": "things", "target": ["a", "a", "b", "b"], "ranking": ["cosine", "chance"] * 2, "n": 5,
        "precision": [1.0, 0.2, 0.6, 0.0],
    })  # fmt: skip
    found = summary(table).set_index("ranking")
    assert found.precision.to_dict() == pytest.approx({RANKINGS["cosine"]: 0.8, RANKINGS["chance"]: 0.1})
    assert (found.low <= found.precision).all() and (found.precision <= found.high).all()


@pytest.mark.slow
def test_neighbours_of_things_are_found_far_better_than_by_chance():
    found = neighbour_precision(wb.load("toy"), open_sae("toy/text.2"), kinds=["things"])
    means = found.groupby("ranking")["precision"].mean()
    assert means.max() >= 0.7 and means["chance"] < 0.3
    assert (means.drop("chance") > 0.55).all()
