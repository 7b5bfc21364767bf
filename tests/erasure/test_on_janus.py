"""Methods on a Janus: those that work keep the promises of all methods, and act where they say; the others refuse."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, save_tiny_janus
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.activations.autoencoders import dictionary_on, open_sae
from workbench.activations.positions import of_prompt
from workbench.activations.reading import held
from workbench.concepts import Concept
from workbench.erasure import METHODS as METHODS_OF_ALL
from workbench.erasure import find_method
from workbench.erasure.detect_replace import DetectReplace, role_means, tail_of
from workbench.erasure.itd import ItD
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.saeuron import SAeUron, activation_table
from workbench.erasure.steerer import ConceptSteerer, direction
from workbench.hooks import Place
from workbench.models import load
from workbench.models.janus.guiding import Guiding
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
        "detect_replace": Case(DetectReplace(sae=words, m=12), tiny_janus, (FOX, CAT), other, unsupported, sampling={}),
        "negative_prompt": Case(NegativePrompt(), tiny_janus, (FOX, CAT), other, sampling={}),
        "steerer": Case(ConceptSteerer(sae=words, alpha=-2.0), tiny_janus, (FOX, CAT), other, sampling={}),
        "saeuron": Case(
            SAeUron(sae=words, multiplier=-30.0, percentile=90.0),
            tiny_janus,
            (FOX, CAT),
            other,
            unsupported,
            sampling={},
        ),
    }


METHODS = ["itd", "detect_replace", "steerer", "saeuron", "negative_prompt"]


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
    with pytest.raises(WorkbenchError, match="which no prompt passes"):
        ItD(sae=sae).fit(tiny_sd1, [FOX])


def test_a_replaced_prompt_reads_as_its_anchor_where_the_features_fire(tiny_janus, cases):
    """With one template, whose means are single prompts: each position that is touched gets the anchor's activation."""
    method = DetectReplace(sae=cases["itd"].method.sae, m=12, by="activation")
    fox = Concept("fox", anchor="cat", retain=["dog"], templates=["a photo of a {}"])
    (places, change), (_, uncond) = changed(tiny_janus, method.fit(tiny_janus, [fox]), "a photo of a fox")
    n = len(tiny_janus.tokens("a photo of a fox")[0].ids)
    own, anchor = (held(tiny_janus, tiny_janus.site(SITE), [f"a photo of a {word}"]).x[0] for word in ("fox", "cat"))
    touched = (change != 0).any(-1)[:n].nonzero().flatten().tolist()
    words = (places[:n] == Place.WORD).nonzero().flatten().tolist()
    behind = [at for at in touched if at > words[-1]]
    assert behind and not uncond.any() and not change[n:].any() and min(touched) >= words[0]
    for at in behind:  # template and begin of image: each for itself
        torch.testing.assert_close(own[at] + change[at], anchor[at], rtol=1e-3, atol=1e-4)
    for at in set(touched) & set(words):  # every word gets what the anchor's name has
        torch.testing.assert_close(own[at] + change[at], anchor[words[-1]], rtol=1e-3, atol=1e-4)


def test_means_do_not_depend_on_how_prompts_are_padded(tiny_janus, monkeypatch):
    prompts = ["a fox", "a photo of a fox", "fox"]
    together = role_means(tiny_janus, tiny_janus.site(SITE), prompts, "fox")
    places = held(tiny_janus, tiny_janus.site(SITE), prompts).places
    numbers = [tail_of(places).number[row][tail_of(places).there[row]].tolist() for row in range(3)]
    assert numbers == [[2, 1]] * 3, "the two template tokens behind the words"
    alone = torch.stack([role_means(tiny_janus, tiny_janus.site(SITE), [one], "fox")[:5] for one in prompts])
    torch.testing.assert_close(together[:5], alone.mean(dim=0), rtol=1e-3, atol=1e-4)
    with pytest.raises(WorkbenchError, match="The tokens of 'bear' are not in all"):
        role_means(tiny_janus, tiny_janus.site(SITE), prompts, "bear")


@pytest.mark.parametrize("prompt", ["fox", "a photo of a red dog", ""])
def test_a_steerer_adds_position_by_position_and_the_mean_to_every_word(tiny_janus, cases, prompt):
    edit, site = cases["steerer"].edit, tiny_janus.site(SITE)
    dictionary = dictionary_on(open_sae(cases["steerer"].method.sae), tiny_janus)
    s = direction(held(tiny_janus, site, ["fox"]).x, dictionary, -2.0)  # one word: nothing to take the mean of
    (places, change), (_, uncond) = changed(tiny_janus, edit, prompt)
    n, before = len(tiny_janus.tokens(prompt)[0].ids), edit.settings["before"]
    words = n - before - edit.settings["after"]
    assert words == int((places == Place.WORD).sum()) and len(s) == before + 1 + edit.settings["after"]
    wanted = torch.cat([s[:before], s[before].expand(words, -1), s[before + 1 :]])
    torch.testing.assert_close(change[:n], wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(uncond[:n], -wanted, rtol=1e-3, atol=1e-3)
    assert not change[n:].any() and not uncond[n:].any()


def test_a_phrase_of_several_words_steers_by_their_mean(tiny_janus, cases):
    edit = ConceptSteerer(sae=cases["steerer"].method.sae, alpha=-2.0).fit(tiny_janus, [Concept("red fox"), FOX])
    dictionary = dictionary_on(open_sae(edit.settings["sae"]), tiny_janus)
    two, one = (
        direction(held(tiny_janus, tiny_janus.site(SITE), [text]).x, dictionary, -2.0) for text in ("red fox", "fox")
    )
    before = edit.settings["before"]
    wanted = torch.cat([two[:before], two[before : before + 2].mean(0, keepdim=True), two[before + 2 :]]) + one
    torch.testing.assert_close(edit.tensors["steering"], wanted, rtol=1e-3, atol=1e-3)


def test_saeuron_averages_over_the_cells_that_are_read(tiny_janus, cases):
    sae = open_sae(cases["saeuron"].method.sae)
    prompts, seeds = ["a fox", "a photo of a cat"], [4, 5]
    found = activation_table(tiny_janus, tiny_janus.site(SITE), dictionary_on(sae, tiny_janus), prompts, seeds)
    codes = tiny_janus.sample_codes(prompts, seeds)
    with torch.no_grad(), tiny_janus.session(record=[SITE]) as session:
        tiny_janus.hidden(codes, prompts)
    z = sae.encode(session.records[SITE][0][1][:, -(CELLS - 1) :])
    torch.testing.assert_close(found.mean[:, 0], z.mean(dim=1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.density, (z > 0).float().mean((0, 1)), rtol=1e-3, atol=1e-4)
    assert found.timesteps.tolist() == [0.0]


def test_saeuron_drives_features_of_cells_above_their_gate_and_leaves_text(tiny_janus, cases):
    edit = cases["saeuron"].edit
    sae, codes = open_sae(cases["saeuron"].method.sae), tiny_janus.sample_codes("a photo of a fox", 3)
    for (places, change), role in zip(changed(tiny_janus, edit, "a photo of a fox"), ("cond", "uncond"), strict=True):
        with torch.no_grad(), tiny_janus.session(record=[SITE]) as session:
            tiny_janus.hidden(codes, "a photo of a fox", role)
        x = session.records[SITE][0][1][0]
        z = sae.encode(x)[:, edit.tensors["features"]]
        multiple = edit.settings["multiplier"] * edit.tensors["mu"][0] - 1
        moved = torch.where((z > edit.tensors["gate"][0]) & edit.tensors["active"][0], multiple * z, 0)
        wanted = moved @ edit.tensors["W_dec"][edit.tensors["features"]] * (places == Place.PICTURE)[:, None]
        assert wanted.any() and not change[places != Place.PICTURE].any()
        torch.testing.assert_close(change, wanted, rtol=1e-3, atol=1e-2)


def test_saeuron_leaves_unconditional_rows_if_told_so_and_knows_no_steps(tiny_janus, cases):
    told = {"sae": cases["saeuron"].method.sae, "multiplier": -30.0, "percentile": 90.0}
    (_, change), (_, uncond) = changed(
        tiny_janus, SAeUron(rows="cond", **told).fit(tiny_janus, [FOX]), "a photo of a fox"
    )
    assert change.any() and not uncond.any()
    with pytest.raises(WorkbenchError, match="without denoising steps"):
        SAeUron(steps=4, **told).fit(tiny_janus, [FOX])


def test_a_negative_prompt_is_what_guidance_leads_away_from(tiny_janus):
    """Greedy tokens, step by step, from both branches as teacher forcing has them: z_n + g (z_p − z_n)."""
    edit, prompt, g = NegativePrompt().fit(tiny_janus, [Concept("red fox")]), "a photo of a cat", 3.0
    with tiny_janus.edited(edit), torch.no_grad():
        codes = tiny_janus.sample_codes(prompt, 0, guidance_scale=g, temperature=0.0)
        inside = tiny_janus.logits(codes, prompt, "uncond")
    plain = tiny_janus.sample_codes(prompt, 0, guidance_scale=g, temperature=0.0)
    with torch.no_grad():
        towards, away = tiny_janus.logits(codes, prompt), tiny_janus.logits(codes, "red fox")
    torch.testing.assert_close(inside, away, rtol=1e-4, atol=1e-4)
    assert torch.equal((away + g * (towards - away)).argmax(-1), codes) and not torch.equal(codes, plain)


def test_negative_prompts_of_several_edits_are_joined_and_an_empty_one_changes_nothing(tiny_janus):
    one, two = (NegativePrompt().fit(tiny_janus, [Concept(name)]) for name in ("fox", "dog"))
    both = NegativePrompt().fit(tiny_janus, [Concept("fox"), Concept("dog")])
    made = []
    for edits in ((both,), (one, two), (one.no_op(),), ()):
        with tiny_janus.edited(*edits):
            made.append(tiny_janus.generate("a cat", [1, 2]))
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[2], made[3]) and not np.array_equal(*made[1:3])


def test_a_negative_prompt_changes_unconditional_rows_of_any_length_and_no_others(tiny_janus):
    seen = []
    for edits in ((), (NegativePrompt().fit(tiny_janus, [Concept("a photo of a red dog")]),)):
        with tiny_janus.edited(*edits), tiny_janus.session(record=["lm.1"]) as session:
            tiny_janus.sample_codes(["fox", "a red cat"], [1, 2])
        seen.append(session.records["lm.1"][0])
    (clock, plain), (longer, edited) = seen
    n = plain.shape[1]
    assert edited.shape[1] > n and clock.roles == longer.roles
    for row in range(2):
        own = longer.tokens.places[row] != Place.ABSENT
        torch.testing.assert_close(
            edited[row][own], plain[row][clock.tokens.places[row] != Place.ABSENT], rtol=1e-4, atol=1e-4
        )
    assert longer.tokens.ids[2].tolist() == list(tiny_janus.tokens("a photo of a red dog")[0].ids)


def test_the_control_of_a_negative_prompt_moves_the_branch_as_far_at_a_right_angle(tiny_janus, monkeypatch):
    edit = NegativePrompt().fit(tiny_janus, [FOX])
    joined = []
    real = Guiding.joined

    def watching(self, logits):
        joined.append((logits, real(self, logits)))
        return joined[-1][1]

    monkeypatch.setattr(Guiding, "joined", watching)
    with tiny_janus.edited(edit.random(3)), tiny_janus.session(record=["lm.1"]) as session:
        tiny_janus.sample_codes("a cat", [1, 2])
    assert all(len(clock.roles) == 4 and not clock.aside for clock, _ in session.records["lm.1"]), "rows of pictures"
    for logits, (cond, turned) in ((before, after.chunk(2)) for before, after in joined):
        asked, negative, empty = logits.chunk(3)
        was, now = negative - empty, turned - empty
        assert torch.equal(cond, asked)
        torch.testing.assert_close(now.norm(dim=-1), was.norm(dim=-1))
        assert ((now * was).sum(-1).abs() < 1e-3 * was.square().sum(-1)).all() and was.abs().max() > 0.1


def test_a_negative_prompt_needs_guidance(tiny_janus):
    edit = NegativePrompt().fit(tiny_janus, [FOX])
    with tiny_janus.edited(edit), pytest.raises(WorkbenchError, match="leaves guidance out"):
        tiny_janus.generate("a cat", 1, guidance_scale=1.0)
    with tiny_janus.edited(edit.random(0)), pytest.raises(WorkbenchError, match="acts where both branches are joined"):
        tiny_janus.logits(tiny_janus.sample_codes("a cat", 1), "a cat", "uncond")


def test_an_sae_of_a_site_that_it_lacks_is_refused_in_a_sentence(tiny_janus):
    with pytest.raises(WorkbenchError, match=r"trained at 'text\.2', which is no site of"):
        ItD().fit(tiny_janus, [FOX])


REFUSED = sorted(METHODS_OF_ALL.keys() - {*METHODS, "ear"})


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_in_a_janus_is_refused_in_a_sentence_before_any_work(tiny_janus, name, monkeypatch):
    monkeypatch.setattr(type(tiny_janus), "sample_codes", None)
    supports = find_method(name).supports
    assert "janus" not in supports.kinds
    with pytest.raises(WorkbenchError, match=r"does not work on .* \(janus\), which has no .*\. It works on sd1"):
        supports.check(name, tiny_janus, [FOX])


def test_the_table_of_methods_says_which_work_on_a_janus():
    works = {name for name in METHODS_OF_ALL if "janus" in find_method(name).supports.kinds}
    assert works == {*METHODS, "ear"}
