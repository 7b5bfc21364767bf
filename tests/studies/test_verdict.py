"""Verdicts on pictures whose truth is known: what is lost, what is spared, and what nobody can tell yet."""

import numpy as np
import pytest

from tests.studies.drawn_studies import keep, painted, study, verdict
from workbench.studies.effects import effect_table
from workbench.studies.verdict import Verdict


def gone(prompt, word):
    """The concept is gone, everything else is kept."""
    return "nothing" if word == "red" else word


def everything_gone(prompt, word):
    return "nothing"


def appears(prompt, word):
    return "red"


def some(share, paint):
    """The paint for that share of the sentences, the unedited picture for the rest."""
    return lambda prompt, word: paint(prompt, word) if prompt.count("large") <= share * 24 else word


@pytest.mark.parametrize(
    ("claim", "subject", "random", "outcome"),
    [
        ("necessary", gone, keep, "supported"),
        ("necessary", keep, keep, "not supported"),
        ("necessary", gone, gone, "not supported"),  # random parts do as much
        ("necessary", some(0.3, gone), keep, "undecided"),
        ("sufficient", appears, keep, "supported"),
        ("sufficient", keep, keep, "not supported"),
        ("sufficient", everything_gone, keep, "not supported"),
        ("sufficient", appears, appears, "not supported"),
        ("specific", gone, keep, "supported"),
        ("specific", everything_gone, keep, "not supported"),  # it costs the others as much
        ("specific", keep, keep, "not supported"),
        ("specific", gone, gone, "not supported"),
    ],
)
def test_the_verdict_follows_the_pictures(claim, subject, random, outcome):
    found = verdict(study(claim), subject, random)
    assert found.outcome == outcome, found.sentence
    assert found.sentence.startswith(outcome.capitalize()) and "layer text.0" in found.sentence


def test_a_concept_that_is_spared_in_one_word_only_is_not_specific():
    found = verdict(study("specific"), lambda prompt, word: "green" if word == "green" else "nothing")
    assert [test.decision for test in found.tests[:2]] == ["below", "above"]
    assert found.outcome == "not supported" and "red is lost more than orange" in found.sentence.lower()


def test_what_brings_a_concept_about_from_one_word_only_is_not_sufficient():
    found = verdict(study("sufficient"), lambda prompt, word: "red" if word == "orange" else word)
    assert [test.decision for test in found.tests] == ["above", "above", "below", "below"]
    assert found.outcome == "not supported" and "appears in prompts of green" in found.sentence


def test_effects_are_counted_at_equal_sentences_and_seeds():
    asked = study("necessary", seeds=2, doses=[0.5])
    outcomes = painted(asked, some(0.25, gone))
    table = effect_table(outcomes, 2).set_index("condition")
    assert table.loc["dose 1", "effect"] == table.loc["dose 0.5", "effect"] == 0.25  # 6 of 24 sentences
    assert table.loc["dose 1", "share"] == 0.75 and table.loc["unedited", "share"] == 1
    assert table.loc["dose 1", ["prompts", "images"]].tolist() == [24, 48]
    assert table.loc["random, dose 1", "images"] == 96 and table.loc["no-op", "effect"] == 0
    np.testing.assert_array_equal(outcomes.effect("dose 1", "red"), [1.0] * 6 + [0.0] * 18)


def test_one_wild_control_of_two_leaves_the_study_open():
    """Random draws are as much chance as prompts: half of them do what the subject does."""
    found = verdict(study(), gone, {1: keep, 2: gone})
    assert found.tests[0].decision == "above" and found.tests[1].decision == "open"
    assert found.outcome == "undecided"


def test_an_undecided_study_says_how_many_prompts_would_decide_it_and_they_do():
    few = verdict(study(prompts=3), gone)
    needed = int(max(test.needed.prompts for test in few.tests))
    assert few.outcome == "undecided" and f"About {needed} prompts would decide it" in few.sentence
    assert verdict(study(prompts=needed), gone).outcome == "supported"


def test_broken_pictures_are_named_and_spare_nothing():
    assert "100% of pictures break" in verdict(study(), lambda prompt, word: "noise").sentence
    assert verdict(study("specific"), lambda prompt, word: "noise").outcome == "not supported"


def test_a_stricter_margin_turns_support_into_its_opposite():
    half = some(0.5, gone)
    assert verdict(study(smallest=0.05), half).outcome == "supported"
    assert verdict(study(smallest=0.9), half).outcome == "not supported"


def test_a_verdict_is_read_back_as_it_was():
    for found in (verdict(study(), gone), verdict(study(smallest=0.0), keep)):
        assert Verdict.from_json(found.as_json()) == found
