"""Anchor prompts worded for the concept: the published proportions, whole words, and no silent no-op."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.concepts import TEMPLATES, Concept
from workbench.evaluation.suites import SuiteRow, adults_only
from workbench.fitting.contents import CONTENTS
from workbench.fitting.wording import AROUND, anchor_prompts, replaced, target_prompt

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


def test_anchor_prompts_are_captions_where_they_serve_and_else_scenes_and_templates():
    captions = ["a cat on a mat", "a category", "a dog"]
    assert anchor_prompts(replace(FOX, captions=captions), "by kind") == ("a cat on a mat",)
    assert anchor_prompts(FOX, "replace") == ("a photo of a cat", "cat")
    own, scenes = anchor_prompts(FOX, "by kind")[:2], anchor_prompts(FOX, "by kind")[2:]
    assert own == ("a photo of a cat", "cat") and "a cat in the snow" in scenes and len(scenes) >= 20
    assert "an owl in the snow" in anchor_prompts(replace(FOX, anchor="owl"), "by kind")
    assert anchor_prompts(STYLE, "by kind") == STYLE.captions
    assert anchor_prompts(STYLE, "replace") == ("painting of a boat",)


@pytest.mark.parametrize("anchor", ["painting", "pablo ruiz"])
@pytest.mark.parametrize("kind", AROUND)
def test_what_is_put_beside_a_prompt_finds_scenes_and_never_the_anchor_in_templates_of_the_kind(kind, anchor):
    """Not "a painting by painting", nor "a cat by painting, in the style of van gogh"."""
    concept, generator = Concept("van gogh", anchor=anchor, kind=kind), torch.Generator().manual_seed(0)
    prompts = anchor_prompts(concept, "by kind")
    assert len(set(prompts)) == len(prompts) >= 20
    filled = {template.replace("{}", word) for template in TEMPLATES[kind] for word in (anchor, concept.name)}
    assert not filled & set(prompts) and not any(" by painting" in prompt or "pablo" in prompt for prompt in prompts)
    for prompt in prompts:
        assert target_prompt(prompt, concept, "by kind", generator).replace(prompt, "").count(concept.name) == 1


@pytest.mark.parametrize("kind", CONTENTS)
def test_shipped_scenes_are_many_have_the_place_that_their_kind_needs_and_are_of_adults(kind):
    scenes = CONTENTS[kind]
    assert len(set(scenes)) == len(scenes) >= 20
    assert all(scene.count("{}") == (kind not in AROUND) for scene in scenes)
    rows = [SuiteRow(scene.format("owl"), "target", "fox", 0) for scene in scenes]
    assert len(adults_only(rows)) == len(rows)
    assert set(CONTENTS) == set(TEMPLATES)
