"""Features of an SAE at a site of a Janus: where they fire, whether the site matters, what is near."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, SIDE
from tests.tiny_saes import random_sae
from workbench.activations.reading import held
from workbench.concepts import Concept
from workbench.edits.interventions import intervention
from workbench.hooks import Place
from workbench.interpret.attribution.pictures import feature_pictures
from workbench.interpret.find_features import find_features
from workbench.interpret.necessity import site_necessity, warn_if_idle
from workbench.interpret.neighbours import find_neighbours

PROMPTS = ["a fox", "a photo of a red cat"]
FEATURES = [0, 5, 9]


def test_maps_of_features_hold_what_fires_when_each_token_is_read(tiny_janus):
    sae = random_sae(tiny_janus, "lm.1", d_sae=24, k=6)
    found = feature_pictures(tiny_janus, sae, FEATURES, PROMPTS, [3, 4], size=SIDE)
    assert np.array_equal(found.images, tiny_janus.generate(PROMPTS, [3, 4]))
    assert found.maps.shape == (2, 1, len(FEATURES), SIDE, SIDE) and np.isnan(found.timesteps).tolist() == [True]
    codes = tiny_janus.sample_codes(PROMPTS, [3, 4])
    with torch.no_grad(), tiny_janus.session(record=["lm.1"]) as session:
        tiny_janus.hidden(codes, PROMPTS)
    ((_, x),) = session.records["lm.1"]
    own = sae.encode(x[:, -(CELLS - 1) :])[..., FEATURES]  # the tokens that are read: all but the last
    maps = found.maps[:, 0].reshape(2, len(FEATURES), CELLS)
    np.testing.assert_allclose(maps[..., :-1], own.mT.numpy(), rtol=1e-3, atol=1e-4)
    assert (maps[..., -1] == 0).all() and maps.any(axis=(0, 2)).all()


def test_pictures_of_a_batch_have_the_maps_that_they_have_alone(tiny_janus, monkeypatch):
    sae = random_sae(tiny_janus, "lm.1", d_sae=24, k=6)
    together = feature_pictures(tiny_janus, sae, FEATURES, "a fox", range(3)).maps
    monkeypatch.setattr("workbench.interpret.attribution.pictures.BATCH", 2)
    np.testing.assert_allclose(feature_pictures(tiny_janus, sae, FEATURES, "a fox", range(3)).maps, together, atol=1e-4)


def test_a_deaf_last_layer_draws_without_the_prompt_and_a_deaf_mlp_otherwise(tiny_janus):
    """Without the prompt is guidance 0: what is deaf at the end is all of the way there."""
    table = site_necessity(tiny_janus, ["lm.norm", "head.in", "lm.0.mlp"], PROMPTS, temperature=0.0).set_index("site")
    assert table.loc["lm.norm", "moved"] == table.loc["head.in", "moved"] == pytest.approx(1.0)
    assert table.loc["lm.0.mlp", "moved"] != pytest.approx(1.0)


def test_necessity_needs_unconditional_rows_and_settings_that_there_are(tiny_janus):
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        site_necessity(tiny_janus, ["lm.1"], PROMPTS, steps=4)
    with pytest.raises(WorkbenchError, match="without unconditional rows"):
        site_necessity(tiny_janus, ["lm.1"], PROMPTS, guidance_scale=1.0)


def test_an_idle_site_is_warned_of(tiny_janus, monkeypatch):
    monkeypatch.setattr("workbench.interpret.necessity.LITTLE", 1e9)
    with pytest.warns(UserWarning, match=r"SAeUron edits lm\.1"):
        warn_if_idle(tiny_janus, tiny_janus.site("lm.1"), PROMPTS, [0, 1], method="SAeUron")


def test_a_window_of_timesteps_is_refused(tiny_janus):
    sae = random_sae(tiny_janus, "lm.1")
    with pytest.raises(WorkbenchError, match=r"'lm\.1' is passed once for each token"):
        intervention(tiny_janus, sae, [1], strength=0.0, window=(800.0, 200.0))


def test_features_of_another_model_are_not_looked_for(tiny_janus):
    sae = random_sae(tiny_janus, "lm.1")
    sae.cfg.metadata.model_name = "0" * 64
    concept = Concept("fox", retain=["dog"])
    with pytest.raises(WorkbenchError, match="trained on a model of other weights"):
        find_features(tiny_janus, sae, concept)
    with pytest.raises(WorkbenchError, match="trained on a model of other weights"):
        find_neighbours(tiny_janus, concept, sae=sae)


def test_prompts_are_read_whole_without_a_picture(tiny_janus, monkeypatch):
    monkeypatch.setattr("workbench.activations.reading.IMAGE_BATCH", 1)  # batches of other widths
    seen = held(tiny_janus, tiny_janus.site("lm.1"), PROMPTS)
    lengths = [len(row.ids) for row in tiny_janus.tokens(PROMPTS)]
    assert (seen.places != Place.ABSENT).sum(dim=1).tolist() == lengths and not (seen.places == Place.PICTURE).any()
    with tiny_janus.session(record=["lm.1"]) as session:
        tiny_janus.sample_codes(PROMPTS, [0, 1])
    clock, x = session.records["lm.1"][0]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(seen.x[row, -length:], x[row, -length:], rtol=1e-4, atol=1e-4)
        own = [(ids[row, -length:]).tolist() for ids in (seen.token_ids, clock.tokens.ids)]
        assert own[0] == own[1] == list(tiny_janus.tokens(PROMPTS)[row].ids)
    assert torch.equal(clock.tokens.places[:2], seen.places)


def test_neighbours_are_told_by_the_end_of_the_prompt_and_by_features(tiny_janus):
    concept = Concept("fox", synonyms=["fox red"], retain=["dog", "cat"], templates=("a photo of a {}", "{}"))
    table = find_neighbours(tiny_janus, concept, sae=random_sae(tiny_janus, "lm.1"))
    assert sorted(table["word"]) == ["cat", "dog", "fox red"] and table["known"].sum() == 1
    assert table[["cosine", "feature_overlap", "rank"]].notna().all(axis=None)
    ends = held(tiny_janus, tiny_janus.site("lm.norm"), ["a photo of a fox", "a photo of a cat"]).x[:, -1]
    hidden = tiny_janus.hidden(torch.zeros(2, 1, dtype=torch.int64), ["a photo of a fox", "a photo of a cat"])
    torch.testing.assert_close(ends, hidden[:, -1].detach())


def test_effects_of_words_are_refused_before_any_work(tiny_janus, monkeypatch):
    monkeypatch.setattr(tiny_janus, "logits", None)
    with pytest.raises(WorkbenchError, match="has no noise schedule"):
        find_neighbours(tiny_janus, Concept("fox", retain=["dog"]), effects=True)
