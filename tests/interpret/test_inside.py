"""What an edit changes inside: nothing for a no-op, everything by hand for the others, at equal latents."""

import math
import re
from importlib import import_module

import numpy as np
import pytest
import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import KNOWN, memorising_sae, random_sae
from workbench.concepts import Concept
from workbench.edits import ActivationEdit, WeightEdit
from workbench.edits.interventions import ablation
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.interpret.inside import inside, token_labels, whole_layers
from workbench.models import Model

LOOKING = import_module("workbench.interpret.inside")  # the file: the package hands out the function by this name
PROMPTS, SEEDS = ["a photo of a fox", "a red dog"], [1, 2]


def weight_edit(model: Model, scale: float = 0.5) -> WeightEdit:
    """Another value map in one cross-attention, or whatever else reads prompts."""
    name, weight = next(reversed(model.prompt_maps().items()))
    draw = torch.Generator().manual_seed(0)
    delta = scale * torch.randn(weight.shape, generator=draw)
    return WeightEdit(
        tensors={f"{name}:delta": delta}, settings={}, method="noise", concepts=("fox",),
        base_fingerprint=model.fingerprint,
    )  # fmt: skip


def text_edit(model: Model) -> ActivationEdit:
    sae = random_sae(model, "text.0")
    return ablation(model, sae, range(96), strength=-3.0)


@pytest.mark.parametrize(
    ("kind", "make"),
    [*((kind, weight_edit) for kind in ("sd1", "sd2", "sdxl", "sd3", "flux")), ("sd1", text_edit), ("sd3", text_edit)],
)
def test_a_no_op_is_exactly_nothing_and_an_edit_is_not(tiny, kind, make):
    model = tiny(kind)
    edit, sae = make(model), random_sae(model, "text.0")
    nothing = inside(model, edit.no_op(), PROMPTS, SEEDS, saes=[sae], steps=2)
    assert (nothing.change[["relative", "low", "high"]] == 0).all(axis=None)
    assert set(nothing.change["site"]) == set(whole_layers(model))
    for table, columns in ((nothing.features, ["before", "fires_before"]), (nothing.attention, ["before"])):
        for column in columns:
            assert (table[column] == table[column.replace("before", "after")]).all() and len(table)
    assert nothing.died.empty and nothing.born.empty
    changed = inside(model, edit, PROMPTS, SEEDS, steps=2).change
    assert (changed[changed["site"].isin([changed["site"].iloc[-1]])]["relative"] > 0).all()


def test_the_change_is_that_of_predictions_on_the_unedited_latents(tiny_sd1, monkeypatch):
    """The same numbers without any of the machinery: latents noted by hand, both models called on them one by one."""
    monkeypatch.setattr(LOOKING, "POSITIONS", 256)  # all of them
    model, edit = tiny_sd1, weight_edit(tiny_sd1)
    found = inside(model, edit, PROMPTS[0], 1, sites=["unet.mid", "unet.out"], steps=3).change
    seen = []
    hook = model.pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args))
    model.generate(PROMPTS[0], 1, steps=3)
    hook.remove()
    encoding = model.encode(PROMPTS[0])
    for step, (latents, timestep, *_) in enumerate(seen):
        before = model.noise_prediction(latents[1:], timestep, encoding)
        with model.edited(edit):
            after = model.noise_prediction(latents[1:], timestep, encoding)
        row = found[(found["site"] == "unet.out") & (found["step"] == step)].iloc[0]
        assert row["relative"] == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-3)
        assert row["timestep"] == float(timestep)
    assert len(found) == 2 * len(seen) and len(seen) == 4  # PNDM


def test_an_edit_of_the_text_shows_from_its_layer_on(tiny_sd1):
    found = inside(tiny_sd1, text_edit(tiny_sd1), PROMPTS, SEEDS, steps=1, sites=["text.0", "text.0.mlp", "text.1"])
    change = found.change.set_index("site")
    assert change.loc["text.0.mlp", "relative"] == 0 < change.loc["text.0", "relative"]
    assert change.loc["text.1", "relative"] > 0
    assert math.isnan(change.loc["text.0", "timestep"])


def test_the_interval_is_over_pictures(tiny_sd1):
    edit, site = weight_edit(tiny_sd1), ["unet.out"]
    each = [
        inside(tiny_sd1, edit, p, s, sites=site, steps=1).change["relative"].iloc[0]
        for p, s in zip(PROMPTS, SEEDS, strict=True)
    ]
    row = inside(tiny_sd1, edit, PROMPTS, SEEDS, sites=site, steps=1).change.iloc[0]
    assert row["relative"] == pytest.approx(np.mean(each), rel=1e-3) and row["n"] == 2
    assert row["high"] - row["relative"] == pytest.approx(1.96 * np.std(each, ddof=1) / 2**0.5, rel=2e-2)


def test_features_die_and_are_born_as_the_dictionary_says(tiny_sd1):
    sae = memorising_sae(tiny_sd1, "text.1")
    found = inside(tiny_sd1, text_edit(tiny_sd1), KNOWN[0], 0, saes=[sae], steps=1)
    fires = []
    for edit in ([], [text_edit(tiny_sd1)]):
        with tiny_sd1.edited(*edit), tiny_sd1.session(record=["text.1"]) as session, torch.no_grad():
            tiny_sd1.encode(KNOWN[0])
        code = Dictionary.of(sae).encode(session.records["text.1"][0][1][0, 1:7])  # its words and the end token
        fires.append({int(f) for f, v in zip(code.indices.flatten(), code.values.flatten(), strict=True) if v > 0})
    assert set(found.died["feature"]) == fires[0] - fires[1] != set()
    assert set(found.born["feature"]) == fires[1] - fires[0] != set()
    assert set(found.features["feature"]) == fires[0] | fires[1]
    total = found.features["fires_before"].sum()
    assert total == pytest.approx(1.0), "one feature fires at each token"


def test_attention_is_shared_out_among_all_tokens(tiny_sd1):
    found = inside(tiny_sd1, weight_edit(tiny_sd1), PROMPTS, SEEDS, steps=2).attention
    shares = found.groupby(["site", "prompt"])[["before", "after"]].sum()
    np.testing.assert_allclose(shares, 1.0, atol=1e-5)
    first = found[(found["site"] == found["site"].iloc[0]) & (found["prompt"] == PROMPTS[0])]
    assert first["token"].tolist() == ["⟨start⟩", "a", "photo", "of", "a", "fox", "⟨end⟩", "⟨padding⟩"]


def test_pictures_beyond_memory_are_looked_at_in_turn(tiny_sd1, monkeypatch):
    whole = inside(tiny_sd1, text_edit(tiny_sd1), PROMPTS, SEEDS, steps=1)
    monkeypatch.setattr(LOOKING, "MEMORY", 1)
    turns = inside(tiny_sd1, text_edit(tiny_sd1), PROMPTS, SEEDS, steps=1)
    np.testing.assert_allclose(turns.change["relative"], whole.change["relative"], rtol=1e-3)
    np.testing.assert_allclose(turns.attention["after"], whole.attention["after"], rtol=1e-3)


def test_labels_stand_for_every_row_of_an_encoding(tiny):
    for kind in ("sd1", "sdxl", "sd3", "flux"):
        assert len(token_labels(tiny(kind), "a fox")) == tiny(kind).encode("a fox").embeddings.shape[1]


def test_unknown_sites_and_two_saes_at_one_site_are_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"unet\.mid"):
        inside(tiny_sd1, text_edit(tiny_sd1), "a fox", 0, sites=["unet.mit"])
    twice = [random_sae(tiny_sd1, "text.0")] * 2
    with pytest.raises(WorkbenchError, match=r"Two SAEs are at text\.0"):
        inside(tiny_sd1, text_edit(tiny_sd1), "a fox", 0, saes=twice)


def test_nothing_is_left_on_the_model(tiny_sd1):
    with pytest.raises(WorkbenchError):
        inside(tiny_sd1, text_edit(tiny_sd1), "a fox", 0, sites=["unet.mit"])
    modules = [*tiny_sd1.pipe.unet.modules(), *tiny_sd1.pipe.text_encoder.modules()]
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in modules)


def test_edits_of_guidance_change_nothing_inside_and_that_is_said(tiny_sd1):
    def seen(edit):
        return inside(tiny_sd1, edit, PROMPTS, SEEDS, steps=2).change

    change = seen(SLD(strength="max").fit(tiny_sd1, [Concept("cat")]))
    assert (change[change["site"] != "unet.out"]["relative"] < 1e-5).all()
    assert (change[change["site"] == "unet.out"]["relative"] > 1e-3).all()
    assert re.search(r"only what it hands over to guidance: by \d+%", LOOKING.untouched(change))
    change = seen(NegativePrompt().fit(tiny_sd1, [Concept("cat")]))
    assert (change["relative"] == 0).all() and "Nothing inside the network" in LOOKING.untouched(change)
    assert LOOKING.untouched(seen(weight_edit(tiny_sd1))) == ""
