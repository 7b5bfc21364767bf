"""Words → cells of a Janus' picture: attention as it is while the picture is written, and effects where the answer is
known."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from probes.attribution import feature_maps
from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, LAYERS, PAD, SIDE
from workbench.hooks import AttentionRecorder, SiteEdit
from workbench.interpret.attribution.cells import attended, lost, word_effects
from workbench.interpret.attribution.likelihood import log_likelihood
from workbench.interpret.attribution.places import positions_of
from workbench.interpret.attribution.words import word_maps

PROMPTS, SEEDS = ["a photo of a fox", "a red cat by a dog"], [3, 4]
WORDS = ["fox", "cat"]


def while_writing(model, prompt, seed, positions):
    """Shares of attention call by call, as the picture is written with its cache: `[layers, heads, cells]`."""
    with AttentionRecorder(model, list(model.attention_sites().values()), role="cond", heads=True) as recorder:
        model.sample_codes(prompt, seed)
    return torch.stack([
        torch.stack([seen[0, :, -1, positions].sum(dim=-1) for _, seen in records], dim=-1)
        for records in recorder.records.values()
    ])  # fmt: skip


def test_shares_are_those_of_the_writing_head_by_head(tiny_janus):
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS)
    places = [[positions_of(tiny_janus, prompt, word)] for prompt, word in zip(PROMPTS, WORDS, strict=True)]
    found = attended(tiny_janus, codes, PROMPTS, places)
    assert found.shape == (2, 1, LAYERS, 4, CELLS)
    for row, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        expected = while_writing(tiny_janus, prompt, seed, places[row][0])
        assert_close(found[row, 0], expected, rtol=1e-3, atol=1e-5)
    assert (found[:, 0].std(dim=2) > 1e-4).any(), "heads differ"


def test_all_positions_of_the_prompt_get_all_the_attention_of_the_first_cell(tiny_janus):
    """No cell has been written yet; later cells attend to earlier ones too."""
    codes, length = tiny_janus.sample_codes(PROMPTS[0], 3), len(tiny_janus.tokens(PROMPTS[0])[0].ids)
    found = attended(tiny_janus, codes, PROMPTS[:1], [[range(length)]])[0, 0]
    assert_close(found[..., 0], torch.ones(LAYERS, 4))
    assert (found[..., 1:] < 1).all()


def test_maps_of_words_are_the_mean_over_layers_and_heads(tiny_janus):
    found = word_maps(tiny_janus, PROMPTS, WORDS, SEEDS, size=8, guidance_scale=2.0)
    np.testing.assert_array_equal(found.images, tiny_janus.generate(PROMPTS, SEEDS, guidance_scale=2.0))
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS, guidance_scale=2.0)
    places = [[positions_of(tiny_janus, prompt, word)] for prompt, word in zip(PROMPTS, WORDS, strict=True)]
    shares = attended(tiny_janus, codes, PROMPTS, places).mean(dim=(2, 3))
    np.testing.assert_allclose(found.maps, feature_maps(shares.mT, [0], 8)[:, 0], rtol=1e-5)
    with pytest.raises(WorkbenchError, match="'dog' is no word of 'a photo of a fox'"):
        word_maps(tiny_janus, PROMPTS[0], "dog", 0)


def test_a_cell_loses_what_padding_in_the_words_place_costs(tiny_janus):
    codes, (own,) = tiny_janus.sample_codes(PROMPTS[0], 3), positions_of(tiny_janus, PROMPTS[0], "fox")
    pad = tiny_janus.pipe.looked_up(torch.tensor([[PAD]]))[0, 0]

    def without(x, clock):
        return torch.where((torch.arange(x.shape[1]) == own)[None, :, None], pad, x)

    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.in"), without)]):
        left = log_likelihood(tiny_janus, codes, PROMPTS[0])
        (nothing,) = lost(tiny_janus, codes, PROMPTS[:1], [[[own]]])
    (found,) = lost(tiny_janus, codes, PROMPTS[:1], [[[own]]])
    assert_close(found[0], (log_likelihood(tiny_janus, codes, PROMPTS[0]) - left)[0], rtol=1e-4, atol=1e-5)
    assert found.abs().max() > 0.01 and nothing.abs().max() < 1e-5, "a model that never sees the word loses nothing"


def test_the_control_is_the_mean_over_as_many_other_tokens(tiny_janus):
    found = word_effects(tiny_janus, PROMPTS, WORDS, SEEDS)
    np.testing.assert_array_equal(found.images, tiny_janus.generate(PROMPTS, SEEDS))
    assert found.maps.shape == found.control.shape == (2, SIDE, SIDE)
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS)
    others = [position for word in ("a", "red", "by", "dog") for position in positions_of(tiny_janus, PROMPTS[1], word)]
    (each,) = lost(tiny_janus, codes[1:], PROMPTS[1:], [[[position] for position in others]])
    assert len(others) == 5
    np.testing.assert_allclose(found.control[1], each.mean(dim=0).reshape(SIDE, SIDE), rtol=1e-3, atol=1e-5)
    (own,) = lost(tiny_janus, codes[1:], PROMPTS[1:], [[positions_of(tiny_janus, PROMPTS[1], "cat")]])
    np.testing.assert_allclose(found.maps[1], own[0].reshape(SIDE, SIDE), rtol=1e-3, atol=1e-5)


def test_what_can_show_nothing_is_refused_before_any_picture(tiny_janus, tiny_sd1):
    with pytest.raises(WorkbenchError, match="needs a model that writes pictures token by token"):
        word_effects(tiny_sd1, PROMPTS, WORDS, SEEDS)
    with pytest.raises(WorkbenchError, match="'dog' is no word of"):
        word_effects(tiny_janus, "a fox", "dog", 0)
    with pytest.raises(WorkbenchError, match="too few other tokens for a control of the word's own 1"):
        word_effects(tiny_janus, "fox", "fox", 0)
    with pytest.raises(WorkbenchError, match="1 words for 2 pictures"):
        word_effects(tiny_janus, "a fox", ["fox"], SEEDS)
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        word_effects(tiny_janus, "a fox", "fox", 0, steps=4)
