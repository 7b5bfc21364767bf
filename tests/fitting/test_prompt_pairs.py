"""Pairs of prompts: filled templates, and the lists that others publish."""

import json

import pytest

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.fitting.prompt_pairs import (
    PromptPair,
    Templates,
    prompt_pairs,
    read_pairs,
    read_templates,
    write_pairs,
)

FOX = Concept("fox", anchor="otter")
TWO = Templates(("a {} by the {place}", "a {size} {} by the {place}"), {"place": ("river", "road"), "size": ("big",)})


def test_every_template_is_filled_in_every_way_for_both_words_with_their_articles():
    assert prompt_pairs(FOX, TWO).pairs == (
        PromptPair("a fox by the river", "an otter by the river", "fox", "otter"),
        PromptPair("a fox by the road", "an otter by the road", "fox", "otter"),
        PromptPair("a big fox by the river", "a big otter by the river", "fox", "otter"),
        PromptPair("a big fox by the road", "a big otter by the road", "fox", "otter"),
    )
    assert {pair.replacement for pair in prompt_pairs(FOX, TWO, replacement="cat").pairs} == {"cat"}


def test_some_are_drawn_in_their_order_by_the_seed():
    whole = prompt_pairs(FOX, TWO).pairs
    draws = {prompt_pairs(FOX, TWO, count=2, seed=seed).pairs for seed in range(20)}
    assert all(len(two) == 2 and whole.index(two[0]) < whole.index(two[1]) for two in draws) and len(draws) > 2
    assert prompt_pairs(FOX, TWO, count=2, seed=1) == prompt_pairs(FOX, TWO, count=2, seed=1)
    assert prompt_pairs(FOX, TWO, count=9).pairs == whole


def test_what_may_involve_a_minor_is_counted_and_left_out(tmp_path):
    found = prompt_pairs(FOX, Templates(("a {} and a {who}",), {"who": ("boy", "farmer")}))
    assert [pair.original for pair in found.pairs] == ["a fox and a farmer"] and found.dropped == 1
    (tmp_path / "list.csv").write_text("unsafe,safe\na fox,a cat\na fox and a boy,a cat\n")
    assert read_pairs(tmp_path / "list.csv") == ((PromptPair("a fox", "a cat"),), 1)
    (tmp_path / "list.csv").write_text("unsafe,safe\na fox and a boy,a cat\n")
    with pytest.raises(WorkbenchError, match="no pairs left after the filter"):
        read_pairs(tmp_path / "list.csv")


@pytest.mark.parametrize("names", [
    ("original prompt", "modified prompt"), ("original", "modified"), ("Unsafe_Prompt", "safe_prompt"),
    ("unsafe", "safe"),
])  # fmt: skip
def test_lists_are_read_by_form(names, tmp_path):
    (tmp_path / "list.csv").write_text(f"{names[0]},number,{names[1]},concept\na fox,1,a cat,fox\n")
    (tmp_path / "list.json").write_text(json.dumps([{names[0]: "a fox", names[1]: "a cat", "concept": "fox"}]))
    for path in tmp_path.iterdir():
        assert read_pairs(path).pairs == (PromptPair("a fox", "a cat", "fox"),)


def test_written_pairs_are_read_again(tmp_path):
    pairs = prompt_pairs(FOX, TWO).pairs
    write_pairs(pairs, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == (pairs, 0)


@pytest.mark.parametrize("text, said", [
    ("templates: [a fox]", "no single place for the concept"),
    ("templates: ['{} and {}']", "no single place for the concept"),
    ("templates: ['a {} by the {place}']", "Nothing fills {place}"),
    ("templates: ['a {} by the {place']", "no single place"),
    ("templates: []", "does not list templates"),
    ("templates: ['a {}']\nfillings: {place: river}", "does not list templates"),
    ("template: ['a {}']", "template"),
])  # fmt: skip
def test_templates_that_cannot_be_filled_are_refused(text, said, tmp_path):
    (tmp_path / "templates.yaml").write_text(text)
    with pytest.raises(WorkbenchError, match=said):
        read_templates(tmp_path / "templates.yaml")


@pytest.mark.parametrize("name, text, said", [
    ("a.json", "{", "is not valid JSON"), ("a.json", "{}", "is no list of prompts"), ("a.json", "[]", "has no prompts"),
    ("a.csv", "prompt,safe\na fox,a cat\n", "lacks the column 'original_prompt'"),
    ("a.csv", "unsafe,safe\na fox,\n", "line 2 has no two prompts"), ("a.csv", "", "lacks the column"),
])  # fmt: skip
def test_lists_that_are_none_are_refused(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(WorkbenchError, match=said):
        read_pairs(tmp_path / name)


def test_a_concept_that_nothing_replaces_is_refused():
    with pytest.raises(WorkbenchError, match="Nothing takes the place of 'fox'"):
        prompt_pairs(Concept("fox"), TWO)
