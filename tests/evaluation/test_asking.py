"""A suite for a concept that nobody prepared asks for all its words, tells nothing that a fit is told, and repeats."""

import pytest

from saes.errors import WorkbenchError
from workbench.concepts import TEMPLATES, Concept, fitting_prompts
from workbench.evaluation.asking import Untold, asked_suite, asking
from workbench.interpret.neighbours import nearest

LION = Concept("lion", anchor="cat", retain=["dog"], synonyms=["big cat"])
UNTOLD = Untold(
    ["tiger", "dog", "mountain lion"], [("a fountain in a square", "fountain"), ("a lion of stone", "statue")]
)


def of_role(suite, role):
    return [row for row in suite.rows if row.role == role]


def test_each_word_is_asked_for_in_its_role_and_told_words_are_no_neighbours():
    suite = asked_suite(LION, UNTOLD, per_role=12)
    assert suite.target == "lion" and suite.anchor == "cat"
    expected = {"target": "lion", "synonym": "lion", "anchor": "cat", "told": "dog", "neighbour": "tiger"}
    for role, name in expected.items():
        assert {row.expected for row in of_role(suite, role)} == {name} and len(of_role(suite, role)) == 12
    assert all("big cat" in row.prompt for row in of_role(suite, "synonym"))
    assert {row.expected for row in of_role(suite, "unrelated")} == {"fountain"}  # the other names the concept
    assert len({row.seed for row in suite.rows}) == len(suite.rows)


@pytest.mark.parametrize("kind", sorted(asking().prompts))
def test_no_shipped_prompt_is_one_that_fits_are_made_of(kind):
    concept = Concept("lion", kind=kind, anchor="cat", retain=["dog"])
    suite = asked_suite(concept, Untold(["tiger"]), per_role=40)
    assert not fitting_prompts(concept) & {row.prompt for row in suite.rows}
    assert not set(asking().prompts[kind]) & set(TEMPLATES[kind]) and suite.dropped == 0


def test_a_prompt_comes_again_only_after_all_have_come():
    prompts = [
        row.prompt for row in of_role(asked_suite(LION, UNTOLD, ["a {} here", "a {} there"], per_role=5), "target")
    ]
    assert sorted(map(prompts.count, set(prompts))) == [2, 3]


def test_the_same_seed_makes_the_same_suite_and_another_one_another():
    assert asked_suite(LION, UNTOLD, seed=1) == asked_suite(LION, UNTOLD, seed=1) != asked_suite(LION, UNTOLD, seed=2)


@pytest.mark.parametrize(
    ("concept", "prompts", "said"),
    [
        (Concept("smoke", kind="unsafe"), (), "no prompts for a concept of the kind 'unsafe'"),
        (LION, ["a lion"], "has no single place"),
        (Concept("teenager"), (), "No prompt about 'teenager' is left"),
        (LION, list(TEMPLATES["object"]), "fits are made of them all"),
    ],
    ids=["kind", "no place", "a minor", "told"],
)
def test_what_cannot_be_asked_is_refused(concept, prompts, said):
    with pytest.raises(WorkbenchError, match=said):
        asked_suite(concept, UNTOLD, prompts)


def test_near_words_are_the_nearest_that_are_not_told(tiny_sd1):
    words = ["cat", "dog", "bear", "red", "a fox", "blue"]
    concept = Concept("fox", anchor="cat", templates=["a {}", "a photo of {}"])
    found = nearest(tiny_sd1, concept, words, 2)
    assert len(found) == 2 and not {"cat", "a fox"} & set(found)
    assert found == nearest(tiny_sd1, concept, words[::-1], 2)
