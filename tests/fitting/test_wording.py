"""Anchor prompts worded for the concept: the published proportions, whole words, and no silent no-op."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.fitting.wording import anchor_prompts, replaced, target_prompt

FOX = Concept("fox", anchor="cat", templates=["a photo of a {}", "{}"])
STYLE = Concept("oskar lind", anchor="painting", kind="style", captions=["a red cat", "painting of a boat"])
NUDE = Concept("nudity", anchor="person", kind="unsafe", captions=["a person"])


def shares(concept, prompt, draws=3000):
    generator = torch.Generator().manual_seed(0)
    counts = Counter(target_prompt(prompt, concept, "by kind", generator) for _ in range(draws))
    return {sentence: count / draws for sentence, count in counts.items()}


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        (STYLE, {"a boat, in the style of oskar lind": 1 / 3, "in oskar lind's style, a boat": 2 / 3}),
        (NUDE, {"nudity, a boat": 1 / 3, "in nudity style, a boat": 1 / 3, "a boat, nudity": 1 / 3}),
    ],
)
def test_the_sentences_have_the_published_proportions(concept, expected):
    seen = shares(concept, "a boat")
    assert seen.keys() == expected.keys()
    for sentence, p in expected.items():
        assert abs(seen[sentence] - p) < 3 * (p * (1 - p) / 3000) ** 0.5


def test_an_object_takes_the_place_of_its_anchor():
    assert shares(FOX, "a cat and a Cat on a category") == {"a fox and a fox on a category": 1.0}


@pytest.mark.parametrize("concept", [STYLE, NUDE])
def test_replacing_is_possible_for_every_kind(concept):
    prompt = f"a red {concept.anchor}"
    generator = torch.Generator()
    assert target_prompt(prompt, concept, "replace", generator) == f"a red {concept.name}"


@pytest.mark.parametrize(
    ("prompt", "word", "by", "expected"),
    [
        ("an apple", "apple", "pear", "a pear"),
        ("A pear on a plate", "pear", "apple", "An apple on a plate"),
        ("a big cat", "cat", "owl", "a big owl"),
        ("the C.A.T. sat", "C.A.T.", "dog", "the dog sat"),
    ],
)
def test_the_article_goes_with_the_new_word(prompt, word, by, expected):
    assert replaced(prompt, word, by) == expected


@pytest.mark.parametrize("prompt", ["a category", "concatenated", "a dog", "", "two cats"])
def test_a_prompt_without_the_whole_word_is_refused(prompt):
    with pytest.raises(WorkbenchError, match="nothing in it can be replaced"):
        replaced(prompt, "cat", "fox")


def test_anchor_prompts_are_captions_where_they_serve_and_else_templates():
    captions = ["a cat on a mat", "a category", "a dog"]
    assert anchor_prompts(replace(FOX, captions=captions), "by kind") == ("a cat on a mat",)
    assert anchor_prompts(FOX, "by kind") == ("a photo of a cat", "cat")
    assert anchor_prompts(STYLE, "by kind") == STYLE.captions
    assert anchor_prompts(STYLE, "replace") == ("painting of a boat",)
