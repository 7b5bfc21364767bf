"""The sentences of a study keep everything but the word."""

import pytest

from saes.errors import WorkbenchError
from workbench.studies.contexts import check_lengths, rows, swapped, with_word


@pytest.mark.parametrize(
    ("prompt", "other", "expected"),
    [
        ("a photo of a fox", "cat", "a photo of a cat"),
        ("a photo of a fox", "owl", "a photo of an owl"),
        ("A fox.", "owl", "An owl."),
        ("a red fox by a foxglove", "cat", "a red cat by a foxglove"),
        ("fox", "mira voss", "mira voss"),
    ],
)
def test_a_word_is_replaced_with_its_article(prompt, other, expected):
    assert swapped(prompt, "fox", other) == expected
    assert swapped(expected, other, "fox") == prompt


@pytest.mark.parametrize(("prompt", "says"), [("a red dog", "not"), ("a fox and a fox", "2 times")])
def test_a_prompt_names_the_word_once(prompt, says):
    with pytest.raises(WorkbenchError, match=says):
        swapped(prompt, "fox", "cat")


def test_others_go_round():
    assert with_word(["a fox", "red fox", "blue fox"], "fox", ["cat", "dog"]) == ["a cat", "red dog", "blue cat"]


def test_all_words_meet_the_same_seeds_and_every_picture_is_asked_for_once():
    made = rows(["a fox", "red fox"], "fox", ["fox", "cat"], seeds=3, seed=2)
    seeds = {word: [(row.context, row.seed) for row in made if row.word == word] for word in ("fox", "cat")}
    assert seeds["fox"] == seeds["cat"] == [(c, 2000 + 3 * c + s) for c in (0, 1) for s in range(3)]
    assert len({(row.prompt, row.seed) for row in made}) == len(made) == 12


def test_sentences_of_unequal_length_are_named(tiny_sd1):
    check_lengths(tiny_sd1, ["a fox"], [["a cat"]])
    with pytest.raises(WorkbenchError, match="tokens where the concept's own prompt has"):
        check_lengths(tiny_sd1, ["a fox"], [["a fox by a cat"]])
