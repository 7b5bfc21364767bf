"""Features on the words of one prompt, and on one picture that is given."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.activations.autoencoders import dictionary_on
from workbench.interpret.attribution.pictures import chosen_values
from workbench.interpret.firing import on_picture, on_words, strongest_by_word

N = 6


def picture(model, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (model.image_size, model.image_size, 3), dtype=np.uint8)


def test_values_are_those_of_the_prompts_own_tokens(tiny_sd1):
    sae, prompt = random_sae(tiny_sd1, "text.1"), "a red fox"
    found = on_words(tiny_sd1, sae, prompt, N)
    assert list(found.tokens) == list(tiny_sd1.tokens(prompt)[0].words) and found.begins
    assert len(found.features) == N and found.values.shape == (len(found.tokens), N)
    with torch.no_grad(), tiny_sd1.session(record=["text.1"]) as session:
        tiny_sd1.encode(prompt)
    x = session.records["text.1"][0][1][:, : len(found.tokens)]
    dense = chosen_values(dictionary_on(sae, tiny_sd1).encode(x), torch.tensor(found.features))[0]
    np.testing.assert_allclose(found.values[1:], dense[1:].numpy(), rtol=1e-4, atol=1e-5)
    assert not found.values[0].any(), "the begin token is equal in every prompt and does not count"


def test_each_word_has_its_strongest_feature_and_features_stand_in_the_order_of_words():
    table = torch.tensor([[0, 0, 0, 0], [0, 9, 0, 8.0], [1, 0, 0, 0], [0, 7, 0, 7.5]])
    assert strongest_by_word(table, 3) == [1, 3, 0]
    assert strongest_by_word(table, 2) == [1, 3] and strongest_by_word(torch.zeros(2, 4), 3) == []


def test_a_picture_is_noised_and_read_where_it_stands(tiny_sd1):
    sae, image = random_sae(tiny_sd1, "unet.mid"), picture(tiny_sd1)
    clean, noisy = (on_picture(tiny_sd1, sae, image, N, timestep=t, size=8) for t in (0, 900))
    again = on_picture(tiny_sd1, sae, image, N, timestep=900, size=8)
    assert clean.maps.shape == (N, 8, 8) and list(clean.scores) == sorted(clean.scores, reverse=True)
    np.testing.assert_array_equal(noisy.maps, again.maps)
    assert noisy.features != clean.features or not np.allclose(noisy.maps, clean.maps)
    ends = tiny_sd1.images(tiny_sd1.latents(image[None]))[0]
    assert np.abs(clean.seen.astype(int) - ends).mean() < np.abs(noisy.seen.astype(int) - ends).mean()


def test_maps_are_what_one_pass_over_the_noised_latents_gives(tiny_sd1):
    sae, image = random_sae(tiny_sd1, "unet.mid"), picture(tiny_sd1)
    found = on_picture(tiny_sd1, sae, image, N, timestep=300, prompt="a fox", seed=4, size=4)
    alpha_bar = tiny_sd1.pipe.scheduler.alphas_cumprod[300]
    latents = alpha_bar.sqrt() * tiny_sd1.latents(image[None]) + (1 - alpha_bar).sqrt() * tiny_sd1.noise([4])
    with torch.no_grad(), tiny_sd1.session(record=["unet.mid"]) as session:
        tiny_sd1.noise_prediction(latents, 300, tiny_sd1.encode("a fox"))
    x = session.records["unet.mid"][0][1]
    dense = chosen_values(dictionary_on(sae, tiny_sd1).encode(x), torch.tensor(found.features))[0]
    np.testing.assert_allclose(found.scores, dense.amax(dim=0).numpy(), rtol=1e-4)


def test_a_janus_reads_words_and_the_cells_of_a_picture(tiny_janus):
    sae = random_sae(tiny_janus, "lm.1")
    words = on_words(tiny_janus, sae, "a red fox", N)
    assert len(words.tokens) == len(tiny_janus.tokens("a red fox")[0].words) and words.values.any()
    found = on_picture(tiny_janus, sae, picture(tiny_janus), N, size=tiny_janus.image_size)
    side = round(tiny_janus.site("lm.1").positions ** 0.5)
    cells = on_picture(tiny_janus, sae, picture(tiny_janus), N, size=side)
    assert found.features == cells.features and not cells.maps[:, -1, -1].any(), "the last cell is never read"
    np.testing.assert_allclose(cells.maps.max(axis=(1, 2)), cells.scores, rtol=1e-4)


def test_a_picture_on_which_nothing_fires_has_no_maps(tiny_sd1):
    sae = random_sae(tiny_sd1, "unet.mid")
    with torch.no_grad():
        sae.b_enc.fill_(-1e6)
    found = on_picture(tiny_sd1, sae, picture(tiny_sd1), N, size=4)
    assert found.features == () and found.maps.shape == (0, 4, 4)


def test_the_wrong_side_size_or_timestep_is_refused(tiny_sd1):
    text, unet = random_sae(tiny_sd1, "text.1"), random_sae(tiny_sd1, "unet.mid")
    with pytest.raises(WorkbenchError, match="no prompt passes"):
        on_words(tiny_sd1, unet, "a fox", N)
    with pytest.raises(WorkbenchError, match="knows no steps"):
        on_picture(tiny_sd1, text, picture(tiny_sd1), N)
    with pytest.raises(WorkbenchError, match="Resize"):
        on_picture(tiny_sd1, unet, picture(tiny_sd1)[:8, :8], N)
    with pytest.raises(WorkbenchError, match="1000 is no timestep"):
        on_picture(tiny_sd1, unet, picture(tiny_sd1), N, timestep=1000)


def test_words_of_a_t5_are_its_own_and_none_is_taken_for_a_begin_token(tiny_sd3):
    site = next(alias for alias in tiny_sd3.sites() if alias.startswith("text3."))
    found = on_words(tiny_sd3, random_sae(tiny_sd3, site), "a fox", N)
    tokenizer = tiny_sd3.pipe.tokenizer_3
    assert len(found.tokens) == len(tokenizer("a fox").input_ids) and not found.begins
