"""Words near a concept in a model: which rows are compared, and what the table says of them."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae
from workbench.activations.autoencoders import dictionary_on
from workbench.concepts import Concept
from workbench.fitting.rows import ends_of_text
from workbench.fitting.trajectories import trajectories
from workbench.interpret.find_features import feature_scores
from workbench.interpret.neighbours import find_neighbours, noise_effects

FORMS = ["a photo of a {}", "{} by"]
FOX = Concept("fox", synonyms=["vixen"], retain=["dog", "bear"], templates=FORMS)


def test_candidates_are_the_retained_words_or_those_given_and_always_the_synonyms(tiny_sd1):
    table = find_neighbours(tiny_sd1, FOX)
    assert sorted(table.word) == ["bear", "dog", "vixen"] and table.word[table.known].tolist() == ["vixen"]
    assert sorted(find_neighbours(tiny_sd1, FOX, ["cat", "Fox", "cat"]).word) == ["cat", "vixen"]
    with pytest.raises(WorkbenchError, match="no candidates"):
        find_neighbours(tiny_sd1, Concept("fox", templates=FORMS))


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3"])
def test_a_word_is_the_mean_of_its_prompts_ends(tiny, kind):
    model = tiny(kind)
    places = {"sd1": [(6,), (3,)], "sdxl": [(6,), (3,)], "sd3": [(6, 12 + 5), (3, 12 + 2)]}[kind]

    def word(name):
        rows = [model.encode(form.format(name)).embeddings[0] for form in FORMS]
        return torch.stack([rows[i][list(place)].flatten() for i, place in enumerate(places)]).double().mean(dim=0)

    ends = ends_of_text(model, [form.format("fox") for form in FORMS])
    assert_close(ends.flatten(1).double().mean(dim=0), word("fox"))
    table = find_neighbours(model, FOX, ["dog"]).set_index("word")
    expected = torch.cosine_similarity(word("fox"), word("dog"), dim=0)
    assert table.raw_cosine["dog"] == pytest.approx(float(expected), rel=1e-4)


def test_features_are_compared_where_the_autoencoder_was_trained(tiny_sd1):
    sae = memorising_sae(tiny_sd1, "text.0")
    table = find_neighbours(tiny_sd1, FOX, sae=sae).set_index("word")
    fired = {
        word: feature_scores(tiny_sd1, tiny_sd1.site("text.0"), dictionary_on(sae, tiny_sd1),
                             [form.format(word) for form in FORMS]).mean(dim=0)
        for word in ("fox", "dog")
    }  # fmt: skip
    both = torch.stack(list(fired.values()))
    expected = both.amin(dim=0).sum() / both.amax(dim=0).sum()
    assert table.feature_overlap["dog"] == pytest.approx(float(expected), rel=1e-5) and 0 < expected < 1
    assert find_neighbours(tiny_sd1, FOX).feature_overlap.isna().all()


def test_the_effect_of_a_word_is_what_it_changes_in_the_noise_at_equal_latents(tiny_sd1):
    prompts = [form.format(word) for word in ("fox", "dog", "bear") for form in FORMS]
    effects = noise_effects(tiny_sd1, prompts, len(FORMS))
    steps = tiny_sd1.defaults.steps
    seen = trajectories(tiny_sd1, [""] * 4, range(4), steps=steps, seen=1 + steps // 3, role="uncond")
    with torch.no_grad():
        by_hand = torch.stack([
            torch.cat([
                tiny_sd1.predicted_noise(x[None], seen.timesteps[-1], tiny_sd1.encode(prompt)).flatten()
                for x in seen.latents[:, -1]
            ])
            for prompt in prompts
        ]).double()  # fmt: skip
    by_hand -= by_hand.unflatten(0, (3, 2)).mean(dim=0).repeat(3, 1)
    assert_close(effects, by_hand, atol=1e-5, rtol=1e-3)
    table = find_neighbours(tiny_sd1, FOX, effects=True)
    assert table.effect_overlap.between(-1, 1).all()


def test_effects_are_refused_where_there_are_no_such_trajectories(tiny_flux):
    with pytest.raises(WorkbenchError, match=r"\(flux\) has no noise schedule"):
        find_neighbours(tiny_flux, FOX, effects=True)
