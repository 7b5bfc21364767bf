"""ItD against its sheet: the equations on tensors in float64, then the edit on a real (tiny) pipeline."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from probes.features import contrast
from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, random_sae, save_tiny_sae
from workbench.activations.autoencoders import dictionary_on, open_sae
from workbench.activations.positions import Frame, token_places
from workbench.concepts import Concept
from workbench.edits import load_edit
from workbench.erasure.itd import PROGRAM, ItD, deactivated, prompt_delta, threshold
from workbench.hooks import Clock
from workbench.interpret.find_features import feature_scores

BEGIN, END = 98, 99
D, N, K = 8, 30, 4
FEATURES = torch.tensor([1, 5, 6, 11, 17, 20, 23, 28])
SETTINGS = {
    "architecture": "topk",
    "k": K,
    "strength": -8.0,
    "keep_error": False,
    "score_tokens": "content",
    "end": END,
}


def problem(seed: int = 0):
    """A random float64 dictionary, two prompts' activations [2, 6, 8], and their token ids (4 and 6 tokens long)."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    b_dec = normal(D)
    dictionary = Dictionary("topk", normal(D, N), normal(N), normal(N, D), b_dec, b_dec, K)
    token_ids = torch.tensor([[BEGIN, 1, 2, END, END, END], [BEGIN, 1, 2, 3, 4, END]])
    return dictionary, normal(2, 6, D), token_ids


def tensors_of(dictionary: Dictionary, features=FEATURES, **more):
    return {**dictionary.tensors, "features": features, **more}


def dense_code(dictionary: Dictionary, x: torch.Tensor) -> torch.Tensor:
    code = dictionary.encode(x)
    return torch.zeros(*x.shape[:-1], N, dtype=x.dtype).scatter(-1, code.indices, code.values)


@pytest.mark.parametrize("strength", [-8.0, 0.0, 2.0])
def test_equation_2_moves_the_stream_along_the_features_of_f_and_never_the_begin_token(strength):
    dictionary, x, token_ids = problem()
    found = token_places(token_ids, Frame(END))
    moved, still = (
        deactivated(x, found, tensors_of(dictionary), {**SETTINGS, "strength": s}).x for s in (strength, 1.0)
    )
    z = dense_code(dictionary, x)[..., FEATURES]
    assert (z > 0).any(dim=(1, 2)).all()  # the features fire on both prompts, or nothing would be tested
    expected = (strength - 1) * z @ dictionary.W_dec[FEATURES]
    expected[:, 0] = 0
    assert_close(moved - still, expected, rtol=0, atol=1e-10)
    assert torch.equal(moved[:, 0], x[:, 0])


@pytest.mark.parametrize("case", ["no features", "strength 1"])
def test_without_features_or_at_strength_1_the_stream_is_the_reconstruction(case):
    dictionary, x, token_ids = problem()
    features = FEATURES[:0] if case == "no features" else FEATURES
    settings = SETTINGS if case == "no features" else {**SETTINGS, "strength": 1.0}
    new = deactivated(x, token_places(token_ids, Frame(END)), tensors_of(dictionary, features), settings).x
    assert torch.equal(new[:, 1:], dictionary.decode(dictionary.encode(x))[:, 1:])
    assert not torch.allclose(new[:, 1:], x[:, 1:])


def test_keeping_the_error_moves_x_itself_by_the_same_step():
    dictionary, x, token_ids = problem()
    found = token_places(token_ids, Frame(END))
    rebuilt = deactivated(x, found, tensors_of(dictionary), SETTINGS).x
    kept = deactivated(x, found, tensors_of(dictionary), {**SETTINGS, "keep_error": True}).x
    error = x - dictionary.decode(dictionary.encode(x))
    assert_close((kept - rebuilt)[:, 1:], error[:, 1:])
    unscaled = deactivated(x, found, tensors_of(dictionary), {**SETTINGS, "keep_error": True, "strength": 1.0})
    assert torch.equal(unscaled.x, x)
    assert unscaled.delta.tolist() == [0, 0]


def test_equation_3_averages_over_counted_tokens_and_channels():
    x = torch.zeros(1, 4, 2, dtype=torch.float64)
    new = torch.tensor([[[9.0, 9.0], [1.0, 3.0], [0.0, 2.0], [5.0, 5.0]]], dtype=torch.float64)
    counted = torch.tensor([[False, True, True, False]])
    assert prompt_delta(new, x, counted).tolist() == [((1 + 9) / 2 + (0 + 4) / 2) / 2]


def test_the_score_of_a_prompt_does_not_change_beside_longer_prompts():
    dictionary, x, token_ids = problem()
    found = token_places(token_ids, Frame(END))
    both = deactivated(x, found, tensors_of(dictionary), SETTINGS).delta
    alone = deactivated(x[:1, :4], found[:1, :4], tensors_of(dictionary), SETTINGS).delta  # without padding
    assert_close(both[:1], alone, rtol=1e-12, atol=0)
    over_all = deactivated(x, found, tensors_of(dictionary), {**SETTINGS, "score_tokens": "all"}).delta
    assert not torch.isclose(over_all[0], both[0])
    assert_close(over_all[1], both[1])  # the second prompt has no padding


def test_equation_4_lies_just_below_the_smallest_score():
    deltas = torch.tensor([3.0, 2.0, 5.0], dtype=torch.float64)
    assert threshold(deltas, 0.99).item() == pytest.approx(1.98)
    assert (deltas >= threshold(deltas, 1.0)).all()


def test_equation_5_touches_the_prompt_above_the_threshold_and_leaves_the_other_its_bits():
    dictionary, x, token_ids = problem()
    made = deactivated(x, token_places(token_ids, Frame(END)), tensors_of(dictionary), SETTINGS)
    loud = int(made.delta.argmax())
    tensors = tensors_of(dictionary, tau=made.delta.mean())
    out = PROGRAM.apply(x, clock(token_ids, "cond", "cond"), tensors, SETTINGS)
    assert torch.equal(out[loud], made.x[loud])
    assert not torch.allclose(out[loud], x[loud])
    assert torch.equal(out[1 - loud], x[1 - loud])


def test_unconditional_rows_keep_their_bits_although_their_score_is_above_the_threshold():
    dictionary, x, token_ids = problem()
    tensors = tensors_of(dictionary, tau=torch.tensor(0.0))
    out = PROGRAM.apply(x, clock(token_ids, "uncond", "cond"), tensors, SETTINGS)
    assert torch.equal(out[0], x[0])
    assert not torch.allclose(out[1], x[1])
    assert PROGRAM.apply(x, clock(token_ids, "uncond", "uncond"), tensors, SETTINGS) is x


def test_an_infinite_threshold_returns_the_very_activation():
    dictionary, x, token_ids = problem()
    tensors = tensors_of(dictionary, tau=torch.tensor(torch.inf))
    assert PROGRAM.apply(x, clock(token_ids, "cond", "cond"), tensors, SETTINGS) is x


def test_gradients_reach_the_activation_through_the_edit():
    dictionary, x, token_ids = problem()
    tensors = tensors_of(dictionary, tau=torch.tensor(0.0))
    x = x[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: PROGRAM.apply(x, clock(token_ids[:1], "cond"), tensors, SETTINGS), (x,))


def clock(token_ids: torch.Tensor, *roles: str) -> Clock:
    return Clock("prompt", 0, None, roles, token_ids)


# --- on a pipeline ---------------------------------------------------------------------------------------------------

FOX = Concept("fox", anchor="cat", synonyms=["vixen"], retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
NEUTRAL, M = "red dog", 12


@pytest.fixture(scope="module")
def itd(tiny_sd1, tmp_path_factory) -> ItD:
    folder = tmp_path_factory.mktemp("sae") / "text.0"
    return ItD(sae=save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), folder), m=M)


@pytest.fixture(scope="module")
def edit(tiny_sd1, itd):
    return itd.fit(tiny_sd1, [FOX])


def embeddings(model, prompts, *edits, role="cond"):
    with torch.no_grad(), model.edited(*edits):
        return model.encode(prompts, role=role).embeddings


def own_features(model, itd, concept: Concept) -> set[int]:
    sae = open_sae(itd.sae)
    site, dictionary = model.site("text.0"), dictionary_on(sae, model)
    scores = [
        feature_scores(model, site, dictionary, prompts) for prompts in (concept.prompts(), concept.retain_prompts())
    ]
    return set(contrast(*scores, M).tolist())


def test_every_calibration_prompt_is_touched_and_a_retained_one_is_not(tiny_sd1, edit):
    for prompt in FOX.prompts():
        assert not torch.equal(embeddings(tiny_sd1, prompt, edit), embeddings(tiny_sd1, prompt))
    assert torch.equal(embeddings(tiny_sd1, NEUTRAL, edit), embeddings(tiny_sd1, NEUTRAL))


def test_in_one_batch_the_target_is_edited_and_the_neutral_prompt_is_bit_equal(tiny_sd1, edit):
    prompts = [FOX.prompts()[0], NEUTRAL]
    before, after = embeddings(tiny_sd1, prompts), embeddings(tiny_sd1, prompts, edit)
    assert not torch.allclose(before[0], after[0], atol=1e-3)
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[0, 0], after[0, 0])  # the begin token


def test_the_unconditional_embedding_is_unchanged_even_for_the_target(tiny_sd1, edit):
    prompt = FOX.prompts()[0]
    uncond = embeddings(tiny_sd1, prompt, edit, role="uncond")
    assert torch.equal(uncond, embeddings(tiny_sd1, prompt, role="uncond"))


def test_the_features_are_those_of_the_sheet_and_of_no_retained_prompt(tiny_sd1, itd, edit):
    features = edit.tensors["features"].tolist()
    assert set(features) == own_features(tiny_sd1, itd, FOX)
    retained = feature_scores(
        tiny_sd1, tiny_sd1.site("text.0"), dictionary_on(open_sae(itd.sae), tiny_sd1), FOX.retain_prompts()
    )
    assert features
    assert (retained[:, features] == 0).all()  # M is more than fire on a prompt, so rank does not matter here


def test_several_concepts_take_the_union_with_what_is_erased_no_longer_retained(tiny_sd1, itd):
    both = itd.fit(tiny_sd1, [FOX, CAT])
    assert set(both.tensors["features"].tolist()) == own_features(tiny_sd1, itd, FOX) | own_features(tiny_sd1, itd, CAT)
    assert both.concepts == ("fox", "cat")
    torn = replace(FOX, retain=("cat", "dog", "bear"))
    assert torch.equal(itd.fit(tiny_sd1, [torn, CAT]).tensors["features"], both.tensors["features"])
    for prompt in (FOX.prompts()[0], CAT.prompts()[0]):
        assert not torch.equal(embeddings(tiny_sd1, prompt, both), embeddings(tiny_sd1, prompt))


def test_shuffled_prompts_give_the_same_edit(tiny_sd1, itd, edit):
    turned = replace(FOX, templates=FOX.templates[::-1], retain=FOX.retain[::-1])
    again = itd.fit(tiny_sd1, [turned])
    assert torch.equal(again.tensors["features"], edit.tensors["features"])
    assert_close(again.tensors["tau"], edit.tensors["tau"])


def test_single_edits_compose_and_each_keeps_its_own_threshold(tiny_sd1, itd, edit):
    other = itd.fit(tiny_sd1, [CAT])
    fox, cat = FOX.prompts()[0], CAT.prompts()[0]
    with_both = embeddings(tiny_sd1, [fox, cat, NEUTRAL], edit, other)
    assert not torch.allclose(with_both[0], embeddings(tiny_sd1, fox)[0])
    assert not torch.allclose(with_both[1], embeddings(tiny_sd1, cat)[0])
    assert torch.equal(with_both[2], embeddings(tiny_sd1, [fox, cat, NEUTRAL])[2])


def test_the_synonyms_are_targets_only_if_asked(tiny_sd1, itd):
    assert "a photo of a vixen" not in itd.prompts([FOX]).target
    assert "a photo of a vixen" in replace(itd, synonyms=True).prompts([FOX]).target


def test_m_may_exceed_the_number_of_features_that_fire(tiny_sd1, itd):
    everything = replace(itd, m=1000).fit(tiny_sd1, [FOX])
    sae = open_sae(itd.sae)
    scores = feature_scores(tiny_sd1, tiny_sd1.site("text.0"), dictionary_on(sae, tiny_sd1), FOX.prompts())
    assert set(everything.tensors["features"].tolist()) <= set((scores > 0).any(dim=0).nonzero().flatten().tolist())


def test_without_a_threshold_every_prompt_is_touched(tiny_sd1, itd):
    always = replace(itd, threshold_factor=None).fit(tiny_sd1, [FOX])
    assert not torch.equal(embeddings(tiny_sd1, NEUTRAL, always), embeddings(tiny_sd1, NEUTRAL))


def test_a_threshold_of_infinity_is_no_edit_and_so_is_the_no_op(tiny_sd1, edit):
    never = replace(edit, tensors={**edit.tensors, "tau": torch.tensor(1e30)})
    prompt = FOX.prompts()[0]
    for idle in (never, edit.no_op()):
        assert torch.equal(embeddings(tiny_sd1, prompt, idle), embeddings(tiny_sd1, prompt))


def test_the_model_is_as_before_after_the_edit_also_when_the_body_raises(tiny_sd1, edit):
    prompt = FOX.prompts()[0]
    before = embeddings(tiny_sd1, prompt)
    with pytest.raises(RuntimeError), tiny_sd1.edited(edit):
        raise RuntimeError("in the middle")
    assert torch.equal(embeddings(tiny_sd1, prompt), before)


def test_random_features_act_on_the_same_prompts_but_move_them_elsewhere(tiny_sd1, edit):
    control = edit.random(seed=1)
    prompts = [FOX.prompts()[0], NEUTRAL]
    plain, edited, moved = (embeddings(tiny_sd1, prompts, *edits) for edits in ((), (edit,), (control,)))
    assert not torch.equal(moved[0], plain[0])
    assert not torch.allclose(moved[0], edited[0])
    assert torch.equal(moved[1], plain[1])


def test_a_saved_edit_needs_no_sae(tiny_sd1, edit, tmp_path):
    edit.save(tmp_path / "edit")
    prompts = [FOX.prompts()[0], NEUTRAL]
    again = load_edit(tmp_path / "edit")
    assert torch.equal(embeddings(tiny_sd1, prompts, again), embeddings(tiny_sd1, prompts, edit))
    assert again.settings["strength"] == -8.0
    assert again.settings["m"] == M


SAME = "fox\u200d"  # another word with the tokens of fox


@pytest.mark.parametrize(
    ("settings", "concept", "said"),
    [
        ({}, Concept("fox"), "needs `retain or captions`"),
        ({}, Concept("fox", retain=[SAME], templates=FOX.templates), "No feature is strong"),
        ({"sae": "toy/text.9000"}, FOX, "Unknown shipped SAE"),
        ({"sae": "nowhere"}, FOX, "no SAE folder"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_a_remedy(tiny_sd1, itd, settings, concept, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(itd, **settings).fit(tiny_sd1, [concept])


@pytest.mark.parametrize(
    ("settings", "said"), [({"m": 0}, "m is 0"), ({"threshold_factor": 1.5}, "threshold_factor is 1.5")]
)
def test_settings_that_cannot_work_are_refused(settings, said):
    with pytest.raises(WorkbenchError, match=said):
        ItD(**settings)


def test_an_sae_of_another_width_or_of_a_denoiser_site_is_refused(tiny_sd1, tmp_path):
    image = save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), tmp_path / "image")
    with pytest.raises(WorkbenchError, match="no prompt passes"):
        ItD(sae=image).fit(tiny_sd1, [FOX])
    config = tmp_path / "wide" / "cfg.json"
    wide = save_tiny_sae(random_sae(tiny_sd1, "unet.down.0.0"), tmp_path / "wide")
    config.write_text(config.read_text().replace("unet.down.0.0", "text.0"))
    with pytest.raises(WorkbenchError, match=r"takes 8 channels but text\.0 has 16"):
        ItD(sae=wide).fit(tiny_sd1, [FOX])


def test_models_without_a_begin_token_are_refused(tiny_flux, itd):
    with pytest.raises(WorkbenchError, match="It works on sd1, sd2, sdxl"):
        itd.fit(tiny_flux, [FOX])


@pytest.mark.parametrize(("kind", "site"), [("sd2", "text.0"), ("sdxl", "text.1"), ("sdxl", "text2.1")])
def test_it_works_on_every_architecture_that_it_supports(tiny, tmp_path, kind, site):
    model = tiny(kind)
    itd = ItD(sae=save_tiny_sae(memorising_sae(model, site), tmp_path / "sae"), m=M)
    edit = itd.fit(model, [FOX])
    prompts = [FOX.prompts()[0], NEUTRAL]
    before, after = embeddings(model, prompts), embeddings(model, prompts, edit)
    assert not torch.allclose(before[0], after[0], atol=1e-3)
    assert torch.equal(before[1], after[1])
    assert kind in ItD.supports.kinds
