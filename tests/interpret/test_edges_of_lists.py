"""Repeated, empty and equal entries of lists: the right figure, or one sentence before any picture is made."""

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, random_sae
from workbench.concepts import Concept, check_concept, concept_list
from workbench.interpret.attribution.effects import feature_effects
from workbench.interpret.attribution.graph import feature_graph
from workbench.interpret.attribution.lens import concept_lens
from workbench.interpret.attribution.pictures import feature_pictures
from workbench.interpret.decodability import contrast, decodability
from workbench.interpret.drift import measure_drift
from workbench.interpret.find_features import find_features
from workbench.interpret.naming import name_sae
from workbench.interpret.neighbours import find_neighbours

TEXT, PIXELS = "text.0", "unet.up.1.0.attn2"
PROMPTS = [f"a {colour} fox {letter}" for colour in ("red", "blue") for letter in "abcdef"]
FOX = Concept("fox", anchor="cat", retain=["dog"])
LIMIT = "a red blue red blue red blue red blue red"  # with begin and end token the model's 12


def bare(function):
    """The function as a user calls it: in the tests, annotations are checked at every call."""
    return getattr(function, "__wrapped__", function)


@pytest.fixture(scope="module")
def text(tiny_sd1):
    return random_sae(tiny_sd1, TEXT)


@pytest.fixture(scope="module")
def pixels(tiny_sd1):
    return random_sae(tiny_sd1, PIXELS)


@pytest.fixture(scope="module")
def lens(tiny_sd1):
    return concept_lens(tiny_sd1, ["a fox"], ["a cat"], [0], seen=1)


@pytest.mark.parametrize("how", ["ablation", "gradient", "integrated"])
def test_a_feature_that_is_named_twice_has_its_one_effect_twice(tiny_sd1, text, lens, how):
    feature = int(feature_effects(tiny_sd1, text, range(96), lens, how="gradient")[0].abs().argmax())
    once = feature_effects(tiny_sd1, text, [feature], lens, how=how)
    twice = feature_effects(tiny_sd1, text, [feature, feature], lens, how=how)
    assert once.abs() > 0 and torch.equal(twice, once.expand(-1, 2))


def graph(model, pixels, sources, targets, prompts, seeds):
    return feature_graph(
        model, memorising_sae(model, "text.1"), sources, pixels, targets, prompts, seeds, seen=2, draws=1
    )


def test_an_edge_stands_once_in_a_graph_however_often_its_features_are_named(tiny_sd1, pixels):
    told = {"prompts": ["a photo of a fox", "a red dog"], "seeds": [1, 2]}
    once = graph(tiny_sd1, pixels, [1, 2, 3, 4, 5], range(96), **told)
    assert len(once) and once.equals(graph(tiny_sd1, pixels, [1, 2, 3, 4, 5, 2, 1], [*range(96), 3], **told))


def test_a_graph_pairs_prompts_and_seeds_as_pictures_do(tiny_sd1, pixels):
    one = graph(tiny_sd1, pixels, [1, 2, 3, 4, 5], range(96), ["a photo of a fox"], [1, 2])
    assert len(one) and one.equals(
        graph(tiny_sd1, pixels, [1, 2, 3, 4, 5], range(96), ["a photo of a fox"] * 2, [1, 2])
    )


def test_maps_of_a_feature_that_is_named_twice_are_the_same(tiny_sd1, pixels):
    maps = feature_pictures(tiny_sd1, pixels, [3, 3], "a fox", 0, steps=1).maps
    assert (maps[:, :, 0] == maps[:, :, 1]).all()


@pytest.mark.parametrize(
    ("prompt", "anchor"), [("a fox", "a fox"), ("a fox", "a  FOX"), (f"{LIMIT} fox", f"{LIMIT} cat")]
)
def test_a_prompt_that_the_model_reads_as_its_anchor_has_no_lens(tiny_sd1, prompt, anchor):
    with pytest.raises(WorkbenchError, match="is its own anchor to the model"):
        concept_lens(tiny_sd1, ["a dog", prompt], ["a cat", anchor], [0, 1])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, t, p, lens: feature_effects(m, t, [], lens), "No feature is named"),
        (lambda m, t, p, lens: feature_effects(m, t, [], lens, how="gradient"), "No feature is named"),
        (lambda m, t, p, lens: feature_effects(m, t, [-1], lens), "features 0 to 95"),
        (lambda m, t, p, lens: feature_effects(m, t, [0], lens, how="integrated", points=0), "points is 0"),
        (lambda m, t, p, lens: feature_pictures(m, p, [], "a fox", 0), "No feature is named"),
        (lambda m, t, p, lens: feature_graph(m, t, [], p, [1], ["a fox"], [0]), "No feature is named"),
        (lambda m, t, p, lens: feature_graph(m, t, [1], p, [], ["a fox"], [0]), "No feature is named"),
        (lambda m, t, p, lens: feature_graph(m, t, [1], p, [1], [], []), "nothing to generate"),
        (lambda m, t, p, lens: feature_graph(m, t, [1], p, [1], ["a fox"], [0], seen=0), "seen is 0"),
        (lambda m, t, p, lens: feature_graph(m, t, [1], p, [1], ["a fox"], [0], draws=0), "draws is 0"),
        (lambda m, t, p, lens: concept_lens(m, ["a fox"], ["a cat"], [0], seen=0), "seen is 0"),
        (lambda m, t, p, lens: concept_lens(m, [], [], []), "no prompts"),
        (lambda m, t, p, lens: find_features(m, t, [FOX, FOX]), r"given twice \(fox, fox\)"),
        (lambda m, t, p, lens: find_features(m, t, FOX, m=0), "m is 0"),
        (lambda m, t, p, lens: bare(find_features)(m, t, "fox"), "'fox' is no concept"),
        (lambda m, t, p, lens: bare(find_features)(m, t, ["fox"]), "'fox' is no concept"),
        (lambda m, t, p, lens: bare(find_neighbours)(m, "fox"), "'fox' is no concept"),
        (lambda m, t, p, lens: bare(contrast)("fox", ["a fox"]), "'fox' is no concept"),
        (lambda m, t, p, lens: decodability(m, PROMPTS, [x.replace("fox", "FOX") for x in PROMPTS], [TEXT]),
         "stands twice, as the model reads it"),
        (lambda m, t, p, lens: decodability(m, PROMPTS, [x.replace("fox", "cat") for x in PROMPTS], []), "no sites"),
        (lambda m, t, p, lens: measure_drift(m, {}, [], PROMPTS, [TEXT]), "no prompts"),
        (lambda m, t, p, lens: measure_drift(m, {}, PROMPTS, PROMPTS, []), "no sites"),
        (lambda m, t, p, lens: name_sae(m, t, PROMPTS, pd.DataFrame(index=range(12))), "no factors"),
    ],
)  # fmt: skip
def test_what_has_no_figure_is_one_sentence(tiny_sd1, text, pixels, lens, call, said):
    with pytest.raises(WorkbenchError, match=said):
        call(tiny_sd1, text, pixels, lens)


def test_concepts_are_one_or_several_and_each_is_one():
    assert concept_list(FOX) == [FOX] == concept_list([FOX]) and check_concept(FOX) is FOX
    for given, said in (([], "no concept"), ("fox", "'fox' is no concept"), ([FOX, FOX], "given twice")):
        with pytest.raises(WorkbenchError, match=said):
            concept_list(given)


def test_the_lens_is_a_number_where_prompts_differ(lens):
    assert_close(lens(), torch.ones(1))
