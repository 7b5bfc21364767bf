"""The logit lens on a tiny Janus: what it must find where the answer is known, and what it refuses."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, LAYERS
from workbench.hooks import SiteEdit
from workbench.interpret.attribution.logit_lens import MEASURES, SOURCES, logit_lens

PROMPTS, SEEDS = ["a fox", "a photo of a red cat", "a fox"], [3, 4, 5]
SITES = ("lm.in", *(f"lm.{layer}" for layer in range(LAYERS)))


@pytest.fixture(scope="module")
def lens(tiny_janus):
    return logit_lens(tiny_janus, PROMPTS, SEEDS, temperature=0.7, top_k=20)


def test_the_last_layer_draws_the_picture_itself_and_no_earlier_one_does(tiny_janus, lens):
    drawn = tiny_janus.generate(PROMPTS, SEEDS, temperature=0.7, top_k=20)
    assert lens.sites == SITES and lens.reads == "guided"
    assert np.array_equal(lens.images, drawn) and np.array_equal(lens.drawn[:, -1], drawn)
    assert not any(np.array_equal(lens.drawn[:, layer], drawn) for layer in range(LAYERS))
    assert (lens.values["own", "same"][:, -1] == 1).all() and (lens.decided <= LAYERS).all()


def test_divergence_falls_to_nothing_at_the_last_layer_and_the_controls_stay_apart(lens):
    assert set(lens.values) == {(source, measure) for source in SOURCES for measure in MEASURES}
    kl = {source: lens.values[source, "kl"] for source in SOURCES}
    assert kl["own"].shape == (3, LAYERS + 1, CELLS) and kl["own"][:, -1].max() < 1e-4
    assert (kl["own"][:, 0].mean() > 0.1) and all(kl[control][:, -1].mean() > 0.1 for control in SOURCES[1:])


def test_the_readings_are_those_of_the_hidden_states(tiny_janus, lens):
    """Another way to layer 1: hidden states of both rows from a session, joined by hand."""
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS, temperature=0.7, top_k=20)
    z = {}
    for role in ("cond", "uncond"):
        with torch.no_grad(), tiny_janus.session(record=["lm.1"]) as session:
            tiny_janus.hidden(codes, PROMPTS, role)
        x = session.records["lm.1"][0][1][:, -CELLS:]
        z[role] = tiny_janus.pipe.generation_head(tiny_janus.pipe.language_model.norm(x)).detach()
    g = tiny_janus.defaults.guidance_scale
    own = (g * z["cond"] - (g - 1) * z["uncond"]).softmax(-1).gather(-1, codes[..., None])[..., 0]
    assert_close(torch.from_numpy(lens.values["own", "probability"][:, 2]), own, rtol=1e-3, atol=1e-6)
    alone = logit_lens(tiny_janus, PROMPTS, SEEDS, reads="uncond", temperature=0.7, top_k=20)
    own = z["uncond"].softmax(-1).gather(-1, codes[..., None])[..., 0]
    assert_close(torch.from_numpy(alone.values["own", "probability"][:, 2]), own, rtol=1e-3, atol=1e-6)
    assert np.array_equal(alone.images, lens.images) and alone.reads == "uncond"


def test_a_control_is_the_same_cell_under_another_prompt(tiny_janus, lens):
    """Picture 0's partner is picture 1, whatever is drawn: its own probabilities, of picture 0's tokens."""
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS, temperature=0.7, top_k=20)
    g = tiny_janus.defaults.guidance_scale
    z = {role: tiny_janus.logits(codes[1:2], PROMPTS[1], role).detach() for role in ("cond", "uncond")}
    guided = z["uncond"] + g * (z["cond"] - z["uncond"])
    expected = guided.softmax(-1).gather(-1, codes[:1, :, None])[0, :, 0]
    found = torch.from_numpy(lens.values["other_picture", "probability"][0, -1])
    assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_without_guidance_the_row_of_the_prompt_is_what_sampling_follows(tiny_janus):
    guided = logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2], guidance_scale=1.0)
    alone = logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2], guidance_scale=1.0, reads="cond")
    assert all(np.array_equal(guided.values[key], alone.values[key]) for key in guided.values)


def test_greedy_pictures_need_no_noise(tiny_janus):
    lens = logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2], temperature=0.0)
    assert np.array_equal(lens.drawn[:, -1], tiny_janus.generate(PROMPTS[:2], SEEDS[:2], temperature=0.0))
    assert (lens.values["own", "rank"][:, -1] == 1).all()


def test_means_by_layer_are_those_of_the_arrays_with_their_controls(lens):
    table = lens.by_layer().set_index(["measure", "site"])
    assert list(table.loc["kl"].index) == list(SITES)
    own = lens.values["own", "kl"][:, 1].mean()
    assert table.loc[("kl", "lm.0"), "value"] == pytest.approx(own, rel=1e-5)
    ranks = np.exp(np.log(lens.values["other_cell", "rank"][:, 2]).mean())
    assert table.loc[("rank", "lm.1"), "other_cell"] == pytest.approx(ranks, rel=1e-5)
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["value"] <= table["high"] + 1e-9).all()


def test_an_edit_is_read_with_it_in_place(tiny_janus):
    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.1"), lambda x, clock: x.flip(-1))]):
        edited = logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2])
        assert np.array_equal(edited.drawn[:, -1], tiny_janus.generate(PROMPTS[:2], SEEDS[:2]))
    plain = logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2])
    assert not np.array_equal(edited.images, plain.images)


@pytest.mark.parametrize("site", ["lm.norm", "head.in"])
def test_what_is_changed_behind_the_last_layer_is_refused(tiny_janus, site):
    with (
        pytest.raises(WorkbenchError, match="behind the last layer"),
        tiny_janus.session(edits=[SiteEdit(tiny_janus.site(site), lambda x, clock: x.flip(-1))]),
    ):
        logit_lens(tiny_janus, PROMPTS[:2], SEEDS[:2])


def test_what_can_show_nothing_is_refused_before_any_picture(tiny_janus, tiny_sd1):
    with pytest.raises(WorkbenchError, match="needs a model that writes pictures token by token"):
        logit_lens(tiny_sd1, PROMPTS, SEEDS)
    with pytest.raises(WorkbenchError, match="all prompts are one"):
        logit_lens(tiny_janus, "a fox", SEEDS)
    with pytest.raises(WorkbenchError, match="Unknown prediction to read 'conds'"):
        logit_lens(tiny_janus, PROMPTS, SEEDS, reads="conds")
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        logit_lens(tiny_janus, PROMPTS, SEEDS, steps=4)
