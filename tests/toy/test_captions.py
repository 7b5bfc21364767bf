"""Captions say what is shown, splits do not overlap, and implicit concepts stay unmentioned."""

import numpy as np
import pytest

from workbench.toy.captions import combination_of, sample, split_of, words
from workbench.toy.tokenizer import LENGTH, build, merges_for, pieces
from workbench.toy.world import COLOURS, IMPLICIT, SLIME, SLIME_SYNONYMS, THINGS


def examples(split, n=400, seed=0):
    rng = np.random.default_rng(seed)
    return [sample(rng, split) for _ in range(n)]


def test_sampling_is_deterministic():
    assert examples("train", 50) == examples("train", 50)
    assert examples("train", 50) != examples("train", 50, seed=1)


@pytest.mark.parametrize("split", ["train", "validation", "held_out"])
def test_every_combination_belongs_to_its_split(split):
    for example in examples(split):
        combination = combination_of(example.scene)
        assert combination == "anybody" or split_of(combination) == split


def test_objects_and_colours_of_the_caption_are_those_of_the_scene():
    for example in examples("train"):
        said = set(example.caption.split())
        for placed in example.scene.objects:
            names = {placed.thing, *THINGS[placed.thing].synonyms}
            assert said & names or example.caption.startswith("a painting by")
        shown = {placed.colour for placed in example.scene.objects} | {example.scene.shirt}
        assert said & set(COLOURS) <= shown


def test_implicit_concepts_come_unmentioned_in_the_promised_share_and_nowhere_else():
    openings = {opening: mark.name for mark in IMPLICIT.values() for opening in mark.openings}
    behind, elsewhere = [], []
    for example in examples("train", 6000):
        opening = next((o for o in openings if example.caption.startswith(o)), None)
        if opening:
            assert openings[opening] not in example.caption
            behind.append(openings[opening] in example.scene.marks)
        elif not any(mark in example.caption for mark in IMPLICIT):
            elsewhere.append(bool(example.scene.marks))
    assert abs(np.mean(behind) - 0.6) < 3 * (0.24 / len(behind)) ** 0.5
    assert not any(elsewhere)


def test_slime_is_asked_for_in_three_ways():
    slimed = [example.caption for example in examples("train", 3000) if example.scene.slime]
    named = [caption for caption in slimed if SLIME in caption]
    synonym = [caption for caption in slimed if set(SLIME_SYNONYMS) & set(caption.split())]
    assert named and synonym and len(named) + len(synonym) < len(slimed)


def test_each_word_is_one_token_and_strangers_fall_apart(tmp_path):
    tokenizer = build(tmp_path)
    for word in words():
        assert len(tokenizer(word).input_ids) == 3, word
    assert len(tokenizer("zebra").input_ids) > 4
    assert len(set(tokenizer(word).input_ids[1] for word in words())) == len(words())


def test_captions_fit_and_are_padded_with_end_of_text(tmp_path):
    tokenizer = build(tmp_path)
    captions = [example.caption for example in examples("train", 300)]
    assert max(len(ids) for ids in tokenizer(captions).input_ids) < LENGTH
    ids = tokenizer("a red fox", padding="max_length").input_ids
    assert len(ids) == LENGTH and ids[4:] == [tokenizer.eos_token_id] * (LENGTH - 4)


def test_later_merges_keep_earlier_words_whole():
    for n in (1, 3, 5):
        rank = {pair: i for i, pair in enumerate(merges_for(["banana", "ban", "nab", "an", "anna"]))}
        assert all(len(pieces(word, rank)) == 1 for word in ["banana", "ban", "nab", "an", "anna"][:n])
    assert len(pieces("bandana", rank)) > 1
