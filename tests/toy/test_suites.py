"""What suites of the toy ask: nothing that a fit was told, by roles that say what was."""

import pytest

from saes.errors import WorkbenchError
from workbench.concepts import Concept, fitting_prompts
from workbench.evaluation.roles import UNTOLD
from workbench.toy.suites import suite, told_by
from workbench.toy.vocabulary import FEW, concepts, contrasts, relative
from workbench.toy.world import THINGS

CONCEPTS = concepts()


@pytest.mark.parametrize("name", CONCEPTS)
def test_no_prompt_that_a_fit_may_be_made_of_is_asked(name):
    for seed in (0, 1):
        assert not fitting_prompts(CONCEPTS[name]) & {row.prompt for row in suite(name, 40, seed).rows}


@pytest.mark.parametrize("name", CONCEPTS)
def test_untold_roles_hold_what_no_fit_was_told_and_never_the_target(name):
    concept = CONCEPTS[name]
    for row in suite(name, 40).rows:
        if row.role in UNTOLD:
            assert row.expected not in told_by(concept)
            assert not any(f" {word} " in f" {row.prompt} " for word in concept.words())
        if row.role == "told":
            assert row.expected in concept.retain
        if row.role == "anchor":
            assert row.expected == concept.anchor


@pytest.mark.parametrize("name", CONCEPTS)
def test_prompts_are_not_repeated_before_all_have_come(name):
    rows = suite(name, 20).rows
    for role in {row.role for row in rows}:
        prompts = [row.prompt for row in rows if row.role == role]
        assert len(set(prompts)) == 20
    assert len({row.seed for row in rows}) == len(rows)


def test_the_relative_is_told_to_nobody_and_equally_few_words_to_all():
    for told in ("few", "all"):
        for name, concept in concepts(told).items():
            assert relative(name) not in told_by(concept) - {""}
            assert concept.anchor != relative(name) or not concept.anchor
    assert all(len(concept.retain) <= FEW for concept in CONCEPTS.values())
    assert CONCEPTS["fox"].retain == ("whale", "car", "truck") and CONCEPTS["fox"].anchor == "fish"
    assert len(concepts("all")["fox"].retain) == 11


def test_a_concept_that_tells_more_is_asked_less():
    every = concepts("all")["fox"]
    rows = suite(every, 30).rows
    assert {row.expected for row in rows if row.role == "told"} <= set(every.retain)
    assert not {row.expected for row in rows if row.role == "unrelated"} & set(every.retain)
    told_its_relative = Concept("fox", anchor="cat", retain=["fish"])
    assert "neighbour" not in {row.role for row in suite(told_its_relative, 4).rows}


def test_another_concept_is_unknown():
    with pytest.raises(WorkbenchError, match="Did you mean 'fox'"):
        suite("foxx")


def test_what_looks_for_features_is_told_every_other_of_the_kind():
    fox = contrasts()["fox"]
    assert fox.anchor == "cat" and set(fox.retain) == set(THINGS) - {"fox"}
    assert contrasts()["slime"] == CONCEPTS["slime"]
