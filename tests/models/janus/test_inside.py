"""What an edit changes inside a Janus, at equal tokens."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.models.janus.test_general import weight_edit
from tests.tiny_janus import CELLS, SIDE
from tests.tiny_saes import random_sae
from workbench.edits.interventions import ablation
from workbench.hooks import Place
from workbench.interpret.inside import inside, whole_layers

PROMPTS, SEEDS = ["a photo of a fox", "a red dog"], [1, 2]


def test_a_no_op_is_exactly_nothing_and_an_edit_is_not(tiny_janus):
    edit, sae = weight_edit(tiny_janus), random_sae(tiny_janus, "lm.1")
    nothing = inside(tiny_janus, edit.no_op(), PROMPTS, SEEDS, saes=[sae])
    assert (nothing.change[["relative", "low", "high"]] == 0).all(axis=None) and len(nothing.features)
    assert list(dict.fromkeys(nothing.change["site"])) == whole_layers(tiny_janus)
    assert (nothing.attention["before"] == nothing.attention["after"]).all() and nothing.died.empty
    change = inside(tiny_janus, edit, PROMPTS, SEEDS).change.set_index(["site", "part"])["relative"]
    assert (change["lm.in"] == 0).all() and (change["lm.0"] == 0).all(), "the edit is in layer 1"
    assert (change["lm.1"] > 0).all() and (change["head.in"] > 0).all()


def test_the_change_is_that_of_hidden_states_on_the_unedited_tokens(tiny_janus):
    edit = weight_edit(tiny_janus)
    found = inside(tiny_janus, edit, PROMPTS, SEEDS, sites=["lm.norm"], temperature=0.5).change
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS, temperature=0.5)
    before = tiny_janus.hidden(codes, PROMPTS).detach()
    with tiny_janus.edited(edit):
        after = tiny_janus.hidden(codes, PROMPTS).detach()
    first = before.shape[1] - CELLS  # the begin-of-image token
    for row in range(SIDE):
        own = slice(first + 1 + SIDE * row, first + 1 + SIDE * (row + 1))
        each = (after - before)[:, own].flatten(1).norm(dim=1) / before[:, own].flatten(1).norm(dim=1)
        (shown,) = found[(found["part"] == "picture") & (found["step"] == row)]["relative"]
        assert shown == pytest.approx(float(each.mean()), rel=1e-3)
    each = (after - before)[:, first].norm(dim=1) / before[:, first].norm(dim=1)
    assert found[found["part"] == "begin of image"]["relative"].item() == pytest.approx(float(each.mean()), rel=1e-3)


def test_features_are_those_of_the_content(tiny_janus):
    """Taken out, they never fire; before, they fire on words, begin-of-image token, and cells that are read."""
    sae = random_sae(tiny_janus, "lm.1", d_sae=8, k=8)
    found = inside(tiny_janus, ablation(tiny_janus, sae, range(8)), PROMPTS[0], 1, saes=[sae]).features
    codes = tiny_janus.sample_codes(PROMPTS[0], 1)
    with torch.no_grad(), tiny_janus.session(record=["lm.1"]) as session:
        tiny_janus.hidden(codes, PROMPTS[0])
    clock, x = session.records["lm.1"][0]
    places = clock.tokens.places[0]
    content = (places == Place.WORD) | (places == Place.END) | (places == Place.PICTURE)
    expected = (sae.encode(x[0, content]) > 0).float().mean(dim=0)
    shown = found.set_index("feature")["fires_before"]
    assert shown.to_dict() == pytest.approx({f: float(expected[f]) for f in shown.index})


def test_attention_is_shared_out_among_the_tokens_and_the_picture(tiny_janus):
    found = inside(tiny_janus, weight_edit(tiny_janus), PROMPTS, SEEDS).attention
    shares = found.groupby(["site", "prompt"])[["before", "after"]].sum()
    np.testing.assert_allclose(shares, 1.0, atol=1e-5)
    first = found[(found["site"] == "lm.0.attn") & (found["prompt"] == PROMPTS[1])]["token"].tolist()
    assert first[0] == "⟨start⟩" and first[-2:] == ["<begin_of_image>", "⟨picture⟩"] and "dog" in first


def test_what_it_lacks_is_refused(tiny_janus):
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        inside(tiny_janus, weight_edit(tiny_janus), PROMPTS, SEEDS, steps=2)
    with pytest.raises(WorkbenchError, match=r"Unknown site 'lm\.9'"):
        inside(tiny_janus, weight_edit(tiny_janus), PROMPTS, SEEDS, sites=["lm.9"])
