"""Finding features in a tiny pipeline: what prompts share, at text and at denoiser sites, with a measured effect."""

import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, random_sae, save_tiny_sae
from workbench.activations.autoencoders import dictionary_on, open_sae, strongest
from workbench.activations.positions import end_token
from workbench.concepts import Concept
from workbench.edits.interventions import ablation
from workbench.interpret.find_features import feature_scores, find_features

FOX = Concept("fox", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", retain=["dog"], templates=["a photo of a {}", "{}"])


@pytest.fixture(scope="module")
def sae(tiny_sd1):
    return memorising_sae(tiny_sd1, "text.0")


def test_the_scores_are_those_of_the_dense_autoencoder_on_content_tokens(tiny_sd1, sae):
    prompts = ["a photo of a fox", "dog"]
    found = feature_scores(tiny_sd1, tiny_sd1.site("text.0"), dictionary_on(sae, tiny_sd1), prompts)
    with torch.no_grad(), tiny_sd1.session(record=["text.0"]) as session:
        tiny_sd1.encode(prompts)
    z = sae.encode(session.records["text.0"][0][1])
    # a photo of a fox: five words and the end token; dog: one and the end token
    torch.testing.assert_close(found, torch.stack([z[0, 1:7].amax(0), z[1, 1:3].amax(0)]))


def test_prompts_do_not_influence_each_other(tiny_sd1, sae):
    site, dictionary = tiny_sd1.site("text.0"), dictionary_on(sae, tiny_sd1)
    both = feature_scores(tiny_sd1, site, dictionary, ["fox", "a photo of a dog"])
    torch.testing.assert_close(feature_scores(tiny_sd1, site, dictionary, ["fox"]), both[:1])


def test_the_table_ranks_the_features_of_each_concept(tiny_sd1, sae):
    table = find_features(tiny_sd1, sae, [FOX, CAT], m=12)
    for concept in (FOX, CAT):
        rows = table.of(concept.name)
        assert rows.in_contrast.any() and not rows.in_contrast.all()
        assert (rows[rows.in_contrast].auc > 0.5).all()
        assert (rows[rows.in_contrast].retain_share == 0).all()
    assert not set(table.contrast("fox")) & set(table.contrast("cat"))
    assert table.about["site"] == "text.0" and table.about["model"] == tiny_sd1.fingerprint
    again = find_features(tiny_sd1, sae, FOX, m=12)
    assert again.of("fox").equals(table.of("fox"))


def test_the_effect_is_what_the_score_loses_at_equal_seeds(tiny_sd1, sae):
    def brightness(images) -> float:
        return float(images.mean())

    rows = find_features(tiny_sd1, sae, FOX, m=12, score=brightness, top=2, seeds=[3]).of("fox")
    assert rows.effect.notna().tolist() == [True, True] + [False] * (len(rows) - 2)
    prompts = list(FOX.prompts())
    plain = tiny_sd1.generate(prompts, 3).mean()
    with tiny_sd1.edited(ablation(tiny_sd1, sae, [int(rows.feature[0])])):
        without = tiny_sd1.generate(prompts, 3).mean()
    assert rows.effect[0] == pytest.approx(plain - without)
    assert rows.effect[0] != 0


def test_a_denoiser_site_is_searched_in_pictures(tiny_sd1):
    sae = random_sae(tiny_sd1, "unet.mid")
    site, dictionary = tiny_sd1.site("unet.mid"), dictionary_on(sae, tiny_sd1)
    found = feature_scores(tiny_sd1, site, dictionary, ["fox", "dog"])
    with torch.no_grad(), tiny_sd1.session(record=["unet.mid"]) as session:
        tiny_sd1.generate(["fox", "dog"], [0, 1])
    calls = [sae.encode(x[clock.mask("cond")]).amax(dim=1) for clock, x in session.records["unet.mid"]]
    torch.testing.assert_close(found, torch.stack(calls).amax(dim=0))
    assert len(calls) > 1


def test_m_is_twice_the_k_of_the_autoencoder_unless_given(tiny_sd1):
    sae = random_sae(tiny_sd1, "text.0", k=6)
    assert strongest(sae, None) == 12
    assert strongest(sae, 5) == 5


def test_an_autoencoder_is_opened_by_folder_or_passed_through(tiny_sd1, sae, tmp_path):
    folder = save_tiny_sae(sae, tmp_path / "sae")
    assert torch.equal(open_sae(folder).W_dec, sae.W_dec)
    assert open_sae(sae) is sae


def test_each_encoder_has_its_own_end_token_and_t5_is_refused(tiny_sdxl, tiny_sd3):
    for alias, tokenizer in (("text.0", tiny_sdxl.pipe.tokenizer), ("text2.0", tiny_sdxl.pipe.tokenizer_2)):
        assert end_token(tiny_sdxl, tiny_sdxl.site(alias)) == tokenizer.eos_token_id
    t5 = next(site for site in tiny_sd3.sites().values() if site.path.startswith("text_encoder_3"))
    with pytest.raises(WorkbenchError, match="no begin token"):
        end_token(tiny_sd3, t5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model, sae: find_features(model, sae, Concept("fox")), "retains nothing"),
        (lambda model, sae: find_features(model, sae, []), "no concept"),
        (lambda model, sae: ablation(model, sae, [10_000]), "has features 0 to"),
        (lambda model, sae: open_sae("toy/txt.2"), "Unknown shipped SAE"),
        (lambda model, sae: feature_scores(model, model.site("text.0"), dictionary_on(sae, model), []), "no prompts"),
    ],
)
def test_what_cannot_be_found_is_refused(tiny_sd1, sae, call, said):
    with pytest.raises(WorkbenchError, match=said):
        call(tiny_sd1, sae)
