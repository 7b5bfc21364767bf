"""Concepts refuse what would silently erase something else, and their prompts are what they say."""

import pytest

from saes.errors import WorkbenchError
from workbench.concepts import TEMPLATES, Concept, read_concepts

FOX = Concept("fox", anchor="cat", synonyms=["vixen"], retain=["dog", "owl"], templates=["a photo of a {}", "{}"])


def test_every_word_meets_every_template_in_order():
    assert FOX.prompts() == ("a photo of a fox", "fox")
    assert FOX.synonym_prompts() == ("a photo of a vixen", "vixen")
    assert FOX.anchor_prompts() == ("a photo of a cat", "cat")
    assert FOX.retain_prompts() == ("a photo of a dog", "dog", "a photo of an owl", "owl")


def test_captions_are_retained_whole_and_words_can_be_left_out():
    concept = Concept("fox", retain=["dog", "Cat"], captions=["two men at a table"], templates=["a {}"])
    assert concept.retain_prompts() == ("a dog", "a Cat", "two men at a table")
    assert concept.retain_prompts(without=["cat"]) == ("a dog", "two men at a table")


def test_a_concept_without_an_anchor_has_empty_anchor_prompts():
    assert Concept("fox", templates=["a {}", "{}"]).anchor_prompts() == ("", "")


def test_lists_become_tuples_so_that_concepts_are_values():
    assert FOX == Concept(
        "fox", anchor="cat", synonyms=("vixen",), retain=("dog", "owl"), templates=("a photo of a {}", "{}")
    )
    assert len({FOX, Concept("fox")}) == 2
    with pytest.raises(AttributeError):
        FOX.name = "cat"


def test_templates_come_from_the_kind():
    assert Concept("mira voss", kind="style").templates == TEMPLATES["style"]
    assert "a painting by mira voss" in Concept("mira voss", kind="style").prompts()


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (" ", {}, "no name"),
        ("fox", {"anchor": "Fox"}, "the concept itself"),
        ("fox", {"anchor": "vixen", "synonyms": ["vixen"]}, "the concept itself"),
        ("fox", {"retain": ["dog", "FOX"]}, "erased and retained at once"),
        ("fox", {"kind": "stlye"}, "'style'"),
        ("fox", {"synonyms": "vixen"}, r"synonyms=\['vixen'\]"),
        ("fox", {"retain": ["dog", ""]}, "empty entry"),
        ("fox", {"templates": []}, "no templates"),
        ("fox", {"templates": ["a photo"]}, "single place"),
        ("fox", {"templates": ["{} and {}"]}, "single place"),
        ("fox", {"templates": ["a {name}"]}, "single place"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, settings, said):
    with pytest.raises(WorkbenchError, match=said):
        Concept(name, **settings)


def write(tmp_path, text: str):
    path = tmp_path / "concepts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_the_same_concepts_as_python(tmp_path):
    text = """
fox: {anchor: cat, synonyms: [vixen], retain: [dog, owl], templates: ["a photo of a {}", "{}"]}
mira voss:
  kind: style
bear:
"""
    assert read_concepts(write(tmp_path, text)) == (FOX, Concept("mira voss", kind="style"), Concept("bear"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fox: {ancor: cat}", "'anchor'"),
        ("fox: {name: cat}", "Unknown key 'name'"),
        ("fox: {anchor: [cat]}", "anchor"),
        ("fox: {anchor: fox}", "the concept itself"),
        ("fox: {retain: dog}", "retain"),
        ("fox: cat", "should be a mapping"),
        ("fox: {anchor: cat}\nfox: {anchor: dog}", "has the key 'fox' twice"),
        ("yes: {anchor: cat}", "has yes without quotes"),
        ("{}", "no concepts"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, said):
    with pytest.raises(WorkbenchError, match=said):
        read_concepts(write(tmp_path, text))


def test_markup_in_a_concept_is_shown_as_text():
    assert "&lt;b&gt;" in Concept("<b>")._repr_html_()
