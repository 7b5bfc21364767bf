"""Concept Steerers against the sheet: the direction in float64, the signs by role, then on real (tiny) pipelines."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.erasure.steerer import ConceptSteerer, direction, steering
from workbench.hooks import Clock

FOX = Concept("fox", synonyms=["red dog"])
CAT = Concept("cat")
PROMPT = "a photo of a dog"


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_1_takes_every_positive_activation_and_adds_no_bias():
    W_enc, b_enc, W_dec, b = normal(6, 20, seed=1), normal(20, seed=2), normal(20, 6, seed=3), normal(6, seed=4)
    x, alpha = normal(2, 5, 6, seed=5), -0.7
    s = torch.zeros(5, 6, dtype=torch.float64)
    fired = 0
    for phrase in range(2):
        for position in range(5):
            for feature in range(20):
                a = W_enc[:, feature] @ (x[phrase, position] - b) + b_enc[feature]
                s[position] += alpha * a * W_dec[feature] if a > 0 else 0
                fired += int(a > 0)
    assert fired > 2 * 5 * 3  # more than the top-k of 3 would let through
    assert_close(direction(x, Dictionary("topk", W_enc, b_enc, W_dec, b, b, 3), alpha), s, rtol=0, atol=1e-10)


def test_equation_2_adds_to_conditional_rows_and_subtracts_from_the_others_in_any_order():
    x, s = normal(3, 5, 6), normal(5, 6, seed=1)
    clock = Clock("prompt", 0, None, ("cond", "uncond", "cond"), torch.zeros(3, 5, dtype=torch.int64))
    assert_close(steering(x, clock, {"steering": s}, {}), torch.stack([x[0] + s, x[1] - s, x[2] + s]))


# --- on a pipeline ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steerer(tiny_sd1, tmp_path_factory) -> ConceptSteerer:
    folder = tmp_path_factory.mktemp("sae") / "text.0"
    return ConceptSteerer(sae=save_tiny_sae(random_sae(tiny_sd1, "text.0"), folder), alpha=-2.0)


def at_site(model, role, *edits, prompt=PROMPT):
    with torch.no_grad(), model.edited(*edits), model.session(record=["text.0"]) as session:
        model.encode(prompt, role=role)
    return session.records["text.0"][0][1][0]


def test_the_difference_of_the_branches_receives_the_direction_twice(tiny_sd1, steerer):
    edit = steerer.fit(tiny_sd1, [FOX])
    before = at_site(tiny_sd1, "cond") - at_site(tiny_sd1, "uncond")
    after = at_site(tiny_sd1, "cond", edit) - at_site(tiny_sd1, "uncond", edit)
    assert before.abs().max() == 0 and edit.tensors["steering"].abs().max() > 0.1
    assert_close(after, 2 * edit.tensors["steering"], atol=1e-5, rtol=1e-5)


def test_the_roles_decide_and_not_the_order_of_the_calls(tiny_sd1, steerer):
    edit = steerer.fit(tiny_sd1, [FOX])
    alone = at_site(tiny_sd1, "uncond", edit)
    with torch.no_grad(), tiny_sd1.edited(edit), tiny_sd1.session(record=["text.0"]) as session:
        tiny_sd1.encode(PROMPT)
        tiny_sd1.encode(PROMPT, role="uncond")
    assert torch.equal(session.records["text.0"][1][1][0], alone)


def test_alpha_of_zero_is_no_edit_and_its_sign_turns_the_direction(tiny_sd1, steerer):
    idle, back = (replace(steerer, alpha=alpha).fit(tiny_sd1, [FOX]) for alpha in (0.0, 2.0))
    plain = tiny_sd1.generate(PROMPT, 0, steps=2)
    with tiny_sd1.edited(idle):
        assert np.array_equal(tiny_sd1.generate(PROMPT, 0, steps=2), plain)
    assert torch.equal(back.tensors["steering"], -steerer.fit(tiny_sd1, [FOX]).tensors["steering"])


def test_directions_of_several_concepts_add_up_and_synonyms_lengthen_the_phrase(tiny_sd1, steerer):
    fox, cat, both = (steerer.fit(tiny_sd1, some) for some in ([FOX], [CAT], [FOX, CAT]))
    assert_close(both.tensors["steering"], fox.tensors["steering"] + cat.tensors["steering"])
    listed = replace(steerer, synonyms=True).fit(tiny_sd1, [FOX, CAT])
    assert listed.settings["phrases"] == ["fox, red dog", "cat"] and both.settings["phrases"] == ["fox", "cat"]


def test_every_prompt_is_steered_since_there_is_no_gate(tiny_sd1, steerer):
    edit = steerer.fit(tiny_sd1, [FOX])
    for prompt in (PROMPT, "", "fox"):
        moved = at_site(tiny_sd1, "cond", edit, prompt=prompt) - at_site(tiny_sd1, "cond", prompt=prompt)
        assert_close(moved, edit.tensors["steering"], atol=1e-5, rtol=1e-5)


def test_the_control_is_as_long_at_every_position_and_points_elsewhere(tiny_sd1, steerer):
    edit = steerer.fit(tiny_sd1, [FOX])
    plain = at_site(tiny_sd1, "cond")
    own, other = (at_site(tiny_sd1, "cond", one) - plain for one in (edit, edit.random(seed=2)))
    assert_close(own.norm(dim=-1), other.norm(dim=-1), atol=1e-4, rtol=1e-4)
    assert torch.cosine_similarity(own, other, dim=-1).abs().max() < 0.95


@pytest.mark.parametrize(
    ("kind", "site"), [("sd2", "text.0"), ("sdxl", "text2.0"), ("sd3", "text3.0"), ("flux", "text2.0")]
)
def test_it_works_on_every_architecture_that_it_supports(tiny, tmp_path, kind, site):
    model = tiny(kind)
    edit = ConceptSteerer(sae=save_tiny_sae(random_sae(model, site), tmp_path / "sae"), alpha=-2.0).fit(model, [FOX])
    with torch.no_grad(), model.edited(edit):
        after = model.encode(PROMPT).embeddings
    assert not torch.allclose(after, model.encode(PROMPT).embeddings, atol=1e-3)
    assert kind in ConceptSteerer.supports.kinds


def test_an_sae_at_a_denoiser_site_is_refused(tiny_sd1, tmp_path):
    image = save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), tmp_path / "image")
    with pytest.raises(WorkbenchError, match="no prompt passes"):
        ConceptSteerer(sae=image).fit(tiny_sd1, [FOX])
