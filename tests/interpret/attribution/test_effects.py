"""Effects of features on a lens: the gradient against definitions, and attribution against true ablation."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from probes.attribution import rank_agreement
from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.hooks import Clock
from workbench.interpret.attribution.effects import Scaled, feature_effects
from workbench.interpret.attribution.lens import concept_lens

PROMPTS, ANCHORS, SEEDS = ["a photo of a fox", "a red fox"], ["a photo of a cat", "a red cat"], [1, 2]
FEATURES = list(range(12))


def dictionary():
    draw = torch.Generator().manual_seed(0)
    W = torch.randn(20, 6, generator=draw, dtype=torch.float64)
    zeros = torch.zeros(20, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    return Dictionary("topk", W.mT.contiguous(), zeros[0], W, zeros[1], zeros[1], k=4)


def test_of_a_linear_readout_the_gradient_is_the_ablation():
    """y = ⟨w, x′⟩ has ∂y/∂α_f = Σ z_f ⟨w, d_f⟩ over all positions but the first of a prompt: equation 2 by hand."""
    own, draw = dictionary(), torch.Generator().manual_seed(1)
    x, w = torch.randn(3, 5, 6, generator=draw, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    clock = Clock("prompt", 0, None, ("uncond", "cond", "cond"))
    scaled = Scaled(own, [3, 7, 11], 1.0)
    changed = scaled(x, clock)
    assert_close(changed, x)
    (slopes,) = torch.autograd.grad((changed @ w).sum(), scaled.alpha)
    a = x @ own.W_enc
    z = torch.where(a >= a.topk(4, dim=-1).values[..., -1:], a, 0).relu()
    assert_close(slopes, (z[1:, 1:].sum(dim=1) * (own.W_dec @ w))[:, [3, 7, 11]])
    halved = Scaled(own, [3], 0.5)(x, clock)
    assert_close(x[1:, 1:] - halved[1:, 1:], 0.5 * z[1:, 1:, [3]] * own.W_dec[3])
    assert_close(halved[0], x[0])


@pytest.mark.parametrize("site", ["text.0", "unet.up.1.0.attn2"])
def test_the_gradient_is_the_slope_of_a_small_change(tiny_sd1, site):
    from workbench.edits.interventions import ablation

    sae, features = random_sae(tiny_sd1, site), [5, 17, 40]
    lens = concept_lens(tiny_sd1, PROMPTS, ANCHORS, SEEDS, seen=2)
    found = feature_effects(tiny_sd1, sae, features, lens, how="gradient")
    for place, feature in enumerate(features):
        sides = []
        for strength in (1.03, 0.97):
            with tiny_sd1.edited(ablation(tiny_sd1, sae, [feature], strength=strength)), torch.no_grad():
                sides.append(lens())
        assert_close(found[:, place], (sides[0] - sides[1]) / 0.06, rtol=0.05, atol=2e-4)


def test_integrated_gradients_add_up_to_what_all_features_do(tiny_sd1):
    from workbench.edits.interventions import ablation

    sae = random_sae(tiny_sd1, "text.0")
    lens = concept_lens(tiny_sd1, PROMPTS, ANCHORS, SEEDS, seen=2)
    with torch.no_grad():
        whole = lens()
        with tiny_sd1.edited(ablation(tiny_sd1, sae, FEATURES)):
            gone = lens()
    found = feature_effects(tiny_sd1, sae, FEATURES, lens, how="integrated", points=16).sum(dim=1)
    gradient = feature_effects(tiny_sd1, sae, FEATURES, lens, how="gradient").sum(dim=1)
    error = (found - (whole - gone)).abs().max()
    assert error < 0.02 * (whole - gone).abs().max() and error < (gradient - (whole - gone)).abs().max()


def test_an_ablation_is_what_the_lens_loses(tiny_sd1):
    from workbench.edits.interventions import ablation

    sae = random_sae(tiny_sd1, "text.0")
    lens = concept_lens(tiny_sd1, PROMPTS, ANCHORS, SEEDS, seen=2)
    found = feature_effects(tiny_sd1, sae, [5, 17], lens)
    with torch.no_grad():
        assert_close(lens(), torch.ones(2))  # the unedited model is at the concept, by definition
        with tiny_sd1.edited(ablation(tiny_sd1, sae, [17])):
            assert_close(found[:, 1], 1 - lens(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sd2", "sdxl", "sd3", "flux"])
def test_every_architecture_can_be_asked(tiny, kind):
    """The gradient is the slope of a small change there too: v-prediction, two encoders, and flows."""
    from workbench.edits.interventions import ablation

    model = tiny(kind)
    alias = "text2.0" if kind == "flux" else "text.0"  # Flux reads its tokens from T5
    sae = random_sae(model, alias)
    lens = concept_lens(model, PROMPTS, ANCHORS, SEEDS, seen=1)
    slopes = feature_effects(model, sae, range(96), lens, how="gradient").sum(dim=1)
    sides = []
    for strength in (1.03, 0.97):
        with model.edited(ablation(model, sae, range(96), strength=strength)), torch.no_grad():
            sides.append(lens())
    assert_close(slopes, (sides[0] - sides[1]) / 0.06, rtol=0.1, atol=1e-3)
    assert slopes.abs().max() > 1e-3


def test_the_lens_is_zero_at_the_anchor(tiny_sd1):
    """With the anchor's embedding handed over in the prompt's place."""
    from workbench.hooks import SiteEdit

    lens = concept_lens(tiny_sd1, PROMPTS, ANCHORS, SEEDS, seen=2)
    with torch.no_grad(), tiny_sd1.session(record=["text.1"]) as session:
        tiny_sd1.encode(ANCHORS)
    other = session.records["text.1"][0][1]
    with torch.no_grad(), tiny_sd1.session(edits=[SiteEdit(tiny_sd1.site("text.1"), lambda x, clock: other)]):
        assert_close(lens(), torch.zeros(2), atol=1e-4, rtol=0)


def test_what_cannot_be_asked_is_refused(tiny_sd1):
    sae = random_sae(tiny_sd1, "text.0")
    with pytest.raises(WorkbenchError, match="gradient"):
        feature_effects(tiny_sd1, sae, [1], lambda: torch.zeros(1), how="gradients")
    with pytest.raises(WorkbenchError, match="features 0 to 95"):
        feature_effects(tiny_sd1, sae, [96], lambda: torch.zeros(1))
    with pytest.raises(WorkbenchError, match=r"does not depend on 'text\.0'"):
        feature_effects(tiny_sd1, sae, [1], lambda: torch.zeros(1), how="gradient")
    with pytest.raises(WorkbenchError, match="its own anchor"):
        concept_lens(tiny_sd1, ["a fox"], ["a fox"], [0])
    with pytest.raises(WorkbenchError, match="equally many"):
        concept_lens(tiny_sd1, ["a fox"], ["a cat", "a dog"], [0])


@pytest.mark.slow
def test_on_the_toy_gradients_rank_the_features_of_a_text_site_as_ablations_do():
    from workbench.interpret.find_features import find_features
    from workbench.models import load
    from workbench.toy import contrasts

    model = load("toy", device="cpu")
    found = find_features(model, "toy/text.2", contrasts()["fox"]).of("fox")["feature"].head(7).tolist()
    features = [*found, *[other for other in range(0, 350, 50) if other not in found]]
    lens = concept_lens(model, ["a photo of a red fox", "a fox"], ["a photo of a red cat", "a cat"], SEEDS, seen=2)
    truth, gradient = (
        feature_effects(model, "toy/text.2", features, lens, how=how).mean(dim=0).numpy()
        for how in ("ablation", "gradient")
    )
    agreement = rank_agreement(truth, gradient)
    assert agreement.rho > 0.8 > agreement.shuffled
    assert np.abs(truth).max() > 0.005
