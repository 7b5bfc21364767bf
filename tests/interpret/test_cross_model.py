"""Features of two models, matched by what they fire on: a model agrees with itself, and kinds of models may differ."""

import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.activations.autoencoders import dictionary_on
from workbench.interpret.cross_model import features_agree
from workbench.interpret.find_features import feature_scores

THINGS = ("fox", "cat", "dog")
PROMPTS = [
    f"{start} {colour} {thing}" for thing in THINGS for start in ("a", "a photo of a") for colour in ("red", "blue")
]
ABOUT = pd.DataFrame({thing: [prompt.endswith(thing) for prompt in PROMPTS] for thing in THINGS})


def test_a_model_agrees_with_itself(tiny_janus):
    side = (tiny_janus, random_sae(tiny_janus, "lm.1"))
    table = features_agree(side, side, PROMPTS, ABOUT, per_concept=2)
    assert table["concept"].tolist() == list(THINGS) and (table["agreement"] > 0.999).all()
    assert (table["control"] < table["agreement"]).all()


@pytest.mark.parametrize("site", ["text.0", "unet.mid"])
def test_a_janus_is_compared_with_a_diffusion_on_the_same_prompts(tiny_janus, tiny_sd1, site, monkeypatch):
    ours, theirs = random_sae(tiny_janus, "lm.1"), random_sae(tiny_sd1, site)
    given = {}

    def watching(first, second, about, **how):
        given.update(first=first, second=second)
        from probes.matched_features import feature_agreement

        return feature_agreement(first, second, about, **how)

    monkeypatch.setattr("workbench.interpret.cross_model.feature_agreement", watching)
    table = features_agree((tiny_janus, ours), (tiny_sd1, theirs), PROMPTS, ABOUT, per_concept=2)
    assert table[["agreement", "control", "difference"]].abs().le(2).all(axis=None) and table.notna().all(axis=None)
    for name, model, sae, at in (("first", tiny_janus, ours, "lm.1"), ("second", tiny_sd1, theirs, site)):
        own = feature_scores(model, model.site(at), dictionary_on(sae, model), PROMPTS)
        assert given[name] == pytest.approx(own.numpy(), rel=1e-3, abs=1e-3)


def test_what_does_not_belong_together_is_refused_before_any_prompt_is_run(tiny_janus, tiny_sd1):
    sae = random_sae(tiny_janus, "lm.1")
    with pytest.raises(WorkbenchError, match="2 prompts and 12 rows"):
        features_agree((tiny_janus, sae), (tiny_janus, sae), PROMPTS[:2], ABOUT)
    with pytest.raises(WorkbenchError, match=r"trained at 'lm\.1', which is no site of"):
        features_agree((tiny_janus, sae), (tiny_sd1, sae), PROMPTS, ABOUT)
