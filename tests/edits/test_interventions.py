"""Changing features by hand on a tiny pipeline: where it acts, when, and what is refused."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.edits import load_edit
from workbench.edits.interventions import ablation, intervention

PROMPT = "a photo of a fox"


@pytest.fixture(scope="module")
def text_sae(tiny_sd1):
    return random_sae(tiny_sd1, "text.0")


@pytest.fixture(scope="module")
def unet_sae(tiny_sd1):
    return random_sae(tiny_sd1, "unet.mid")


def at_site(model, site, *edits):
    """The site's conditional activations, a call each: [calls, positions, d]."""
    with torch.no_grad(), model.edited(*edits), model.session(record=[site]) as session:
        model.generate(PROMPT, [0], steps=4)
    return torch.stack([x[clock.mask("cond")][0] for clock, x in session.records[site] if "cond" in clock.roles])


def timesteps(model):
    with model.session(record=["unet.mid"]) as session:
        model.generate(PROMPT, [0], steps=4)
    return [clock.timestep for clock, _ in session.records["unet.mid"]]


def test_adding_moves_the_words_of_a_prompt_by_the_decoder_rows_alone(tiny_sd1, text_sae):
    edit = intervention(tiny_sd1, text_sae, [3, 7, 3], action="add", strength=2.0, concepts=("fox",))
    moved = at_site(tiny_sd1, "text.0", edit)[0] - at_site(tiny_sd1, "text.0")[0]
    expected = torch.zeros_like(moved)
    expected[1:7] = 2.0 * text_sae.W_dec[[3, 7]].sum(dim=0)  # five words and the end token
    assert_close(moved, expected, atol=1e-5, rtol=0)
    assert edit.concepts == ("fox",) and edit.method == "intervention"


def test_a_window_changes_the_steps_within_it_and_none_before(tiny_sd1, unet_sae):
    times = timesteps(tiny_sd1)
    middle = sorted(set(times))[1]
    before = sum(time > middle for time in times)
    edit = intervention(tiny_sd1, unet_sae, range(20), strength=-3.0, window=(middle, 0.0))
    plain, moved = at_site(tiny_sd1, "unet.mid"), at_site(tiny_sd1, "unet.mid", edit)
    assert 0 < before < len(times)
    assert torch.equal(plain[:before], moved[:before])
    assert all(not torch.allclose(a, b) for a, b in zip(plain[before:], moved[before:], strict=True))


def test_rows_at_times_of_their_own_are_each_changed_as_alone(tiny_sd1, unet_sae):
    """As trainings on top of such an edit ask: relearning, or a method fitted after SAeUron's."""
    edit = intervention(tiny_sd1, unet_sae, range(20), strength=-3.0, window=(800.0, 300.0))
    latents, encoding = tiny_sd1.noise([0, 1, 2]), tiny_sd1.encode(["a fox", "a dog", "a red fox"])
    times = torch.tensor([900, 500, 100])
    plain = tiny_sd1.noise_prediction(latents, times, encoding)
    with tiny_sd1.edited(edit):
        got = tiny_sd1.noise_prediction(latents, times, encoding)
        alone = tiny_sd1.noise_prediction(latents[1:2], 500, encoding.row(1))
    assert_close(got[1:2], alone)
    moved = [not torch.allclose(one, other, atol=1e-5) for one, other in zip(got, plain, strict=True)]
    assert moved == [False, True, False]


@pytest.mark.parametrize("action", ["scale", "clamp", "add"])
def test_a_saved_intervention_makes_the_same_pictures(tiny_sd1, unet_sae, action, tmp_path):
    edit = intervention(tiny_sd1, unet_sae, range(20), action=action, strength=-3.0, window=(900.0, 100.0))
    edit.save(tmp_path / "edit")
    plain = tiny_sd1.generate(PROMPT, [0], steps=2)
    with tiny_sd1.edited(edit):
        own = tiny_sd1.generate(PROMPT, [0], steps=2)
    with tiny_sd1.edited(load_edit(tmp_path / "edit")):
        assert np.array_equal(tiny_sd1.generate(PROMPT, [0], steps=2), own)
    assert not np.array_equal(own, plain)


def test_an_ablation_is_an_intervention_that_scales(tiny_sd1, text_sae):
    one, other = ablation(tiny_sd1, text_sae, [1, 2]), intervention(tiny_sd1, text_sae, [1, 2], strength=0.0)
    assert (one.program, one.settings) == (other.program, other.settings)
    assert one.method == "ablation" and torch.equal(
        at_site(tiny_sd1, "text.0", one), at_site(tiny_sd1, "text.0", other)
    )


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"features": []}, "No feature is named"),
        ({"features": [96]}, "has features 0 to 95"),
        ({"features": [-1]}, "has features 0 to 95"),
        ({"action": "clam"}, "'clamp'"),
        ({"window": (800.0, 200.0)}, "before the first timestep"),
        ({"window": (200.0, 800.0)}, "from 200 down to 800"),
        ({"window": (1200.0, 0.0)}, "from 1200 down to 0"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(tiny_sd1, text_sae, told, said):
    with pytest.raises(WorkbenchError, match=said):
        intervention(tiny_sd1, text_sae, **{"features": [0], "strength": 1.0, **told})


def test_an_sae_of_another_model_or_width_is_refused(tiny_sd1, tiny_sd2):
    sae = random_sae(tiny_sd1, "unet.mid")
    sae.cfg.metadata.model_name = tiny_sd1.fingerprint
    assert intervention(tiny_sd1, sae, [0], strength=0.0).site == "unet.mid"
    with pytest.raises(WorkbenchError, match="other weights"):
        intervention(tiny_sd2, sae, [0], strength=0.0)
    sae = random_sae(tiny_sd1, "unet.mid")
    sae.cfg.metadata.hook_name = "unet.down.0.0"
    with pytest.raises(WorkbenchError, match="channels but"):
        intervention(tiny_sd1, sae, [0], strength=0.0)


def test_words_of_an_encoder_without_a_begin_token_cannot_be_told_from_padding(tiny_flux):
    alias = next(site.alias for site in tiny_flux.sites().values() if site.path.startswith("text_encoder_2"))
    sae = random_sae(tiny_flux, alias)
    with pytest.raises(WorkbenchError, match="no begin token"):
        intervention(tiny_flux, sae, [0], action="add", strength=1.0)
    assert intervention(tiny_flux, sae, [0], strength=1.0).site == alias
