"""UCE against its equations: each solution is compared with `torch.linalg.lstsq` in float64."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.erasure.uce import UCE, Pair, kept_prompts, paired_prompts
from workbench.fitting.embedding import embed

FORMS = ["a photo of a {}", "{} by"]
FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=FORMS)
BLANK = Concept("fox", retain=["dog"], captions=["a red bear"], templates=FORMS)


def weights(model):
    return {name: weight.detach().double() for name, weight in model.prompt_maps().items()}


def gathered(method, model, concepts, reads="embeddings"):
    """Rows, targets and kept rows of a fit, in float64."""
    pairs = [method.rows(model, reads, pair) for pair in paired_prompts(model, concepts, method.templates)]
    kept = list(method.kept_rows(model, reads, kept_prompts(concepts), lambda items, *_: items))
    return *(torch.cat(parts).double() for parts in zip(*pairs, strict=True)), torch.cat(kept).double()


def solved(model, method, c, values, k, W, n_kept):
    """W′ of one map by least squares on the stacked system; `values` are v*, `[n, out]`."""
    s_e, s_p, damping = method.erase_scale, method.scale_of(n_kept), method.damping
    left = torch.cat([s_e**0.5 * c, s_p**0.5 * k, damping**0.5 * torch.eye(c.shape[1], dtype=torch.float64)])
    right = torch.cat([s_e**0.5 * values, s_p**0.5 * k @ W.T, damping**0.5 * W.T])
    return torch.linalg.lstsq(left, right, driver="gelsd").solution.T


@pytest.mark.parametrize("concept", [FOX, BLANK], ids=["anchor", "blank"])
@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize("templates", [False, True])
@pytest.mark.parametrize("settings", [{}, {"erase_scale": 3.0, "preserve_scale": 0.2, "damping": 5.0}])
def test_every_map_solves_the_stacked_system(tiny_sd1, concept, tokens, templates, settings):
    method = UCE(tokens=tokens, templates=templates, **settings)
    edit = method.fit(tiny_sd1, [concept])
    c, a, k = gathered(method, tiny_sd1, [concept])
    for name, W in weights(tiny_sd1).items():
        expected = solved(tiny_sd1, method, c, a @ W.T, k, W, len(kept_prompts([concept]))) - W
        assert_close(edit.delta(name).double(), expected, rtol=1e-4, atol=1e-6)
        assert expected.norm() > 1e-3


def unshared(own, anchor):
    unit = own / torch.linalg.matrix_norm(own)
    return anchor - torch.tensordot(unit, anchor) * unit


@pytest.mark.parametrize("concepts", [[FOX], [FOX, Concept("red", anchor="blue")]], ids=["thin", "whole"])
def test_the_tensor_technique_removes_what_anchor_and_concept_share(tiny_sd1, concepts):
    method = UCE(technique="tensor", erase_scale=1.7)
    edit = method.fit(tiny_sd1, concepts)
    assert (":right" in edit.tensors) == (len(concepts) == 1), "many moved rows do not make the edit grow"
    c, a, k = gathered(method, tiny_sd1, concepts)
    for name, W in weights(tiny_sd1).items():
        values = torch.cat([unshared(rows @ W.T, to @ W.T) for rows, to in zip(c.split(11), a.split(11), strict=True)])
        expected = solved(tiny_sd1, method, c, values, k, W, 3) - W
        assert_close(edit.delta(name).double(), expected, rtol=1e-4, atol=1e-6)


def test_tokens_are_those_of_the_two_codes(tiny_sd1):
    fox, cat, blank, dog, bear = embed(tiny_sd1, ["fox", "cat", "", "dog", "bear"])
    c, a, k = gathered(UCE(tokens="all"), tiny_sd1, [FOX])
    assert torch.equal(c.float(), fox[1:]) and torch.equal(a.float(), cat[1:])
    assert torch.equal(k.float(), torch.cat([blank, dog, bear]))
    c, a, k = gathered(UCE(tokens="last"), tiny_sd1, [FOX])
    assert torch.equal(c.float(), fox[1:2]) and torch.equal(a.float(), cat[1:2])
    assert torch.equal(k.float(), torch.stack([blank[0], dog[1], bear[1]]))
    c, a, _ = gathered(UCE(tokens="last"), tiny_sd1, [BLANK])
    assert torch.equal(a.float(), blank[:1]), "without an anchor the subject reads as the begin token"


def test_prompts_are_the_names_alone_or_concept_and_anchor_in_each_template(tiny_sd1):
    assert paired_prompts(tiny_sd1, [FOX, BLANK]) == [Pair("fox", "fox", "cat", "cat"), Pair("fox", "fox", "", "")]
    assert paired_prompts(tiny_sd1, [FOX, BLANK], templates=True) == [
        Pair("a photo of a fox", "fox", "a photo of a cat", "cat"), Pair("fox by", "fox", "cat by", "cat"),
        Pair("a photo of a fox", "fox", "", ""), Pair("fox by", "fox", "", ""),
    ]  # fmt: skip


def test_pooled_embeddings_are_one_row_a_prompt(tiny_sd3):
    c, a, k = gathered(UCE(), tiny_sd3, [FOX], "pooled")
    fox, cat, *kept = embed(tiny_sd3, ["fox", "cat", "", "dog", "bear"], "pooled")
    assert torch.equal(c.float(), fox[None]) and torch.equal(a.float(), cat[None])
    assert torch.equal(k.float(), torch.stack(kept))


def test_scales_are_those_of_the_two_codes():
    assert UCE().scale_of(3) == pytest.approx(1 / 3) and UCE().scale_of(1735) == 0.1
    assert UCE(tokens="last").scale_of(3) == 1.0 and UCE(preserve_scale=0.7).scale_of(3) == 0.7


def test_rank_is_at_most_the_number_of_moved_rows(tiny_sd1):
    edit = UCE(tokens="last").fit(tiny_sd1, [FOX, Concept("bear", anchor="dog")])
    for name in edit.names:
        assert torch.linalg.matrix_rank(edit.delta(name)) == 2


def test_one_row_alone_moves_by_the_ridge_factor(tiny_sd1):
    """W′c − Wc = ρ (v* − Wc), ρ = s‖c‖² / (λ + s‖c‖²), where nothing is kept."""
    method = UCE(tokens="last", erase_scale=2.0, preserve_scale=0.0, damping=3.0)
    edit = method.fit(tiny_sd1, [Concept("fox", anchor="cat")])
    c, a, _ = gathered(method, tiny_sd1, [FOX])
    rho = 2 * c.square().sum() / (3 + 2 * c.square().sum())
    for name, W in weights(tiny_sd1).items():
        assert_close(edit.delta(name).double() @ c[0], rho * (a - c)[0] @ W.T, rtol=1e-4, atol=1e-5)


def test_the_order_of_concepts_does_not_matter(tiny_sd1):
    bear = Concept("bear", anchor="dog")
    first, second = UCE().fit(tiny_sd1, [FOX, bear]), UCE().fit(tiny_sd1, [bear, FOX])
    for name in first.names:
        assert_close(first.delta(name), second.delta(name), rtol=1e-4, atol=1e-6)


def test_stronger_erasure_misses_less_and_stronger_keeping_drifts_less(tiny_sd1):
    def misses(**settings):
        method = UCE(**settings)
        edit, (c, a, k) = method.fit(tiny_sd1, [FOX]), gathered(method, tiny_sd1, [FOX])
        some = [(W, edit.delta(name).double()) for name, W in weights(tiny_sd1).items()]
        missed = sum(((W + delta) @ c.T - W @ a.T).square().sum() for W, delta in some)
        return missed, sum((delta @ k.T).square().sum() for _, delta in some)

    missed, drift = zip(*(misses(erase_scale=s) for s in (0.1, 1.0, 10.0)), strict=True)
    assert missed[0] > missed[1] > missed[2] and drift[0] < drift[2]
    drift = [misses(preserve_scale=s)[1] for s in (0.1, 1.0, 10.0)]
    assert drift[0] > drift[1] > drift[2]
    assert UCE(damping=1e9).fit(tiny_sd1, [FOX]).delta(next(iter(weights(tiny_sd1)))).norm() < 1e-6


def test_what_is_erased_is_not_kept():
    both = [Concept("fox", retain=["Dog", "cat"]), Concept("dog", retain=["fox", "bear"])]
    assert [kept.words for kept in kept_prompts(both)] == ["", "cat", "bear"]
    style = Concept("mira voss", captions=["a red Cat", "a catalogue"])
    kept = kept_prompts([Concept("cat"), style])
    assert [one.prompt for one in kept] == ["", "a catalogue"], (
        "a caption that names an erased concept would protect it"
    )


def test_only_keys_and_values_of_cross_attention_change(tiny_sd1, tiny_sdxl):
    for model in (tiny_sd1, tiny_sdxl):
        names = UCE().fit(model, [FOX]).names
        assert names == sorted(model.prompt_maps())
        assert all(name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")) for name in names)


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_joint_models_are_edited_where_they_read_the_prompt(tiny_sd3, tiny_flux, tokens):
    method = UCE(tokens=tokens)
    for model in (tiny_sd3, tiny_flux):
        edit = method.fit(model, [FOX])
        for reads in ("embeddings", "pooled"):
            c, a, k = gathered(method, model, [FOX], reads)
            ((name, weight),) = model.prompt_maps(reads).items()
            W = weight.detach().double()
            expected = solved(model, method, c, a @ W.T, k, W, 3) - W
            assert_close(edit.delta(name).double(), expected, rtol=1e-4, atol=1e-6)


def test_a_concept_equal_to_its_anchor_and_negative_scales_are_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="same tokens"):
        UCE().fit(tiny_sd1, [Concept("fox", anchor="fox ")])
    with pytest.raises(WorkbenchError, match="damping is -1"):
        UCE(damping=-1.0)
