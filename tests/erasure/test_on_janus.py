"""Methods on a Janus: those that work keep the promises of all methods, and act where they say; the others refuse."""

import numpy as np
import pytest
import torch

from tests.tiny_janus import CELLS, save_tiny_janus
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.activations.positions import of_prompt
from workbench.concepts import Concept
from workbench.erasure.itd import ItD
from workbench.hooks import Place
from workbench.models import load
from workbench.testing import CHECKS, NEED_A_GPU, Case

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", anchor="dog", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
SITE = "lm.0"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another Janus, of other weights."""
    return load(
        save_tiny_janus(tmp_path_factory.mktemp("other") / "janus", vq_config={"num_embeddings": 48}), device="cpu"
    )


@pytest.fixture(scope="module")
def cases(tiny_janus, other, tmp_path_factory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("saes")
    words = save_tiny_sae(random_sae(tiny_janus, SITE, k=8), folder / "words")
    unsupported = [(tiny_janus, Concept("fox"))]
    return {
        "itd": Case(ItD(sae=words, m=12), tiny_janus, (FOX, CAT), other, unsupported, sampling={}),
    }


METHODS = ["itd"]


@pytest.mark.parametrize("check", sorted(CHECKS.keys() - NEED_A_GPU))
@pytest.mark.parametrize("method", METHODS)
def test_it_keeps_the_promises_of_a_method(method, check, cases):
    CHECKS[check](cases[method])


@pytest.mark.parametrize("method", METHODS)
def test_its_control_changes_the_target_otherwise(method, cases):
    case = cases[method]
    control = case.images(case.edit.random(seed=1))
    assert not np.array_equal(control, case.images()) and not np.array_equal(control, case.images(case.edit))


def changed(model, edit, prompt, site=SITE):
    """Where an edit changes the site while a picture is made: places and roles of the positions, and the change.

    Both models write the same picture, so that only what the edit does is seen.
    """
    codes = model.sample_codes(prompt, 3)
    found = []
    for role in ("cond", "uncond"):
        records = []
        for edits in ((), (edit,)):
            with torch.no_grad(), model.edited(*edits), model.session(record=[site]) as session:
                model.hidden(codes, prompt, role)
            records.append(session.records[site][0])
        (clock, before), (_, after) = records
        found.append((clock.tokens.places[0], (after - before)[0]))
    return found


def test_itd_changes_the_prompt_from_its_first_word_on_and_nothing_else(tiny_janus, cases):
    (places, change), (_, uncond) = changed(tiny_janus, cases["itd"].edit, "a photo of a fox")
    touched = (change != 0).any(-1)
    assert touched.any() and not touched[~of_prompt(places[None])[0]].any() and not uncond.any()
    assert (places == Place.PICTURE).sum() == CELLS - 1


def test_itd_leaves_prompts_without_the_concept_bit_for_bit(tiny_janus, cases):
    case = cases["itd"]
    for prompt in ("a photo of a dog", "bear"):
        assert np.array_equal(case.images(case.edit, prompts=[prompt]), case.images(prompts=[prompt]))
    batch = ["a photo of a fox", "bear"]
    together = case.images(case.edit, prompts=batch)
    assert np.array_equal(together[1], case.images(prompts=batch)[1])
    assert not np.array_equal(together[0], case.images(prompts=batch)[0])


def test_itd_rebuilds_and_scales_as_its_equation_says(tiny_janus, cases):
    edit = cases["itd"].edit
    (places, change), _ = changed(tiny_janus, edit, "a photo of a fox")
    with torch.no_grad(), tiny_janus.session(record=[SITE]) as session:
        tiny_janus.hidden(torch.zeros(1, 1, dtype=torch.int64), "a photo of a fox")
    x = session.records[SITE][0][1][0].double()
    W_enc, b_enc, W_dec, b = (edit.tensors[name].double() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    a = (x - b) @ W_enc + b_enc
    z = torch.where(a >= a.topk(edit.settings["k"], dim=-1).values[..., -1:], a, 0).relu()
    z[:, edit.tensors["features"]] *= edit.settings["strength"]
    wanted = (z @ W_dec + b - x) * of_prompt(places[None])[0, : len(x), None]
    torch.testing.assert_close(change[: len(x)].double(), wanted, rtol=1e-3, atol=1e-3)


def test_itd_makes_no_picture_to_be_fitted(tiny_janus, cases, monkeypatch):
    monkeypatch.setattr(type(tiny_janus), "generate", None)
    cases["itd"].method.fit(tiny_janus, [FOX])


def test_an_sae_of_pictures_alone_still_belongs_to_no_prompt(tiny_sd1, tmp_path):
    sae = save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), tmp_path / "sae")
    with pytest.raises(Exception, match="which no prompt passes"):
        ItD(sae=sae).fit(tiny_sd1, [FOX])
