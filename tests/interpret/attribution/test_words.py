"""Maps of words: they are the recorded attention, they belong to their own row, and they find what was drawn."""

import numpy as np
import pytest
import torch

from probes.attribution import token_maps
from saes.errors import WorkbenchError
from workbench.hooks import AttentionRecorder
from workbench.interpret.attribution.places import positions_of
from workbench.interpret.attribution.words import WordRecorder, word_maps


def by_hand(model, prompt, seed, positions, size):
    """Everything recorded, then averaged: no row chosen inside a hook, nothing summed on the way."""
    with AttentionRecorder(model, list(model.attention_sites().values())) as recorder:
        model.generate(prompt, seed, steps=2)
    sites = [
        torch.stack([seen[clock.mask("cond")] for clock, seen in records]) for records in recorder.records.values()
    ]
    return token_maps(sites, size)[0, positions].sum(dim=0)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3", "flux"])
def test_maps_are_the_mean_attention_to_the_word_in_every_architecture(tiny, kind):
    model, prompts, words, seeds = tiny(kind), ["a photo of a fox", "a red dog"], ["fox", "red"], [3, 4]
    found = word_maps(model, prompts, words, seeds, size=16, steps=2)
    np.testing.assert_array_equal(found.images, model.generate(prompts, seeds, steps=2))
    for prompt, word, seed, seen in zip(prompts, words, seeds, found.maps, strict=True):
        expected = by_hand(model, prompt, seed, positions_of(model, prompt, word), 16)
        np.testing.assert_allclose(seen, expected, atol=2e-3)  # a picture depends on its batch in the last bits
    assert np.abs(found.maps[0] - found.maps[1]).max() > 1e-4


def test_a_word_is_found_behind_each_tokenizer(tiny_sd1, tiny_sd3, tiny_flux):
    assert positions_of(tiny_sd1, "a photo of a fox", "fox") == [5]
    _, t5 = tiny_sd3.architecture.segments()
    assert positions_of(tiny_sd3, "a photo of a fox", "fox") == [5, t5.start + 4]  # T5 has no begin token
    assert positions_of(tiny_flux, "a photo of a fox", "fox") == [4]


def test_a_long_word_is_all_its_tokens_and_a_word_said_twice_both_places(tiny_sd1):
    assert positions_of(tiny_sd1, "a fox fox", "fox") == [2, 3]
    assert positions_of(tiny_sd1, "a zebra", "zebra") == [2, 3, 4, 5, 6]


def test_a_word_that_is_not_there_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="'cat' is no word of 'a fox'"):
        word_maps(tiny_sd1, "a fox", "cat", 0)
    with pytest.raises(WorkbenchError, match="1 words for 2 pictures"):
        word_maps(tiny_sd1, "a fox", ["fox"], [0, 1])


def test_all_words_together_get_all_the_attention(tiny_sd1):
    with WordRecorder(tiny_sd1, [[list(range(12)), [5]]]) as recorder:
        tiny_sd1.generate("a photo of a fox", 0, steps=2)
    whole, fox = recorder.maps(8)[0]
    torch.testing.assert_close(whole, torch.ones(8, 8))
    assert (fox < whole).all() and (fox > 0).all()
