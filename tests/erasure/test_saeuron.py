"""SAeUron against its sheet: the equations on tensors in float64, then the edit on a real (tiny) pipeline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.activations.autoencoders import dictionary_on, open_sae
from workbench.activations.reading import read
from workbench.concepts import Concept
from workbench.edits import load_edit
from workbench.erasure.saeuron import (
    ActivationTable,
    SAeUron,
    above,
    activation_table,
    deactivation,
    importance,
    locate,
    prompt_groups,
    scores_of,
)
from workbench.fitting.pictures import drawn_seeds
from workbench.hooks import Clock, Step

D, N, K = 6, 20, 5
FEATURES = torch.tensor([2, 7, 11])
TIMES = torch.tensor([900.0, 500.0, 100.0])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem():
    """A random float64 dictionary, a guided pair of 9 positions, and tables in which every feature is active."""
    W_dec = normal(N, D, seed=1)
    W_dec = W_dec / W_dec.norm(dim=1, keepdim=True)
    dictionary = Dictionary("topk", normal(D, N, seed=2), normal(N, seed=3), W_dec, normal(D), normal(D), K)
    tables = {
        "timesteps": TIMES,
        "features": FEATURES,
        "active": torch.ones(3, 3, dtype=torch.bool),
        "mu": normal(3, 3, seed=4).abs(),
        "gate": normal(3, 3, seed=5).abs() / 2,
    }
    return normal(2, 9, D, seed=6), {**dictionary.tensors, **tables}


def edited(x, tensors, *, timestep=500.0, roles=("uncond", "cond"), **settings):
    told = {"architecture": "topk", "k": K, "multiplier": -3.0, "rows": "both", **settings}
    return deactivation(x, Clock("image", 0, Step(0, None, timestep), roles), tensors, told)


def code(x, tensors):
    """The dense code, without the library: the K largest of a, negatives cut."""
    a = (x - tensors["b_in"]) @ tensors["W_enc"] + tensors["b_enc"]
    return torch.where(a >= a.topk(K, dim=-1).values[..., -1:], a, 0).relu()


def test_equations_3_and_4_against_the_dense_code():
    x, tensors = problem()
    z = code(x, tensors)
    new = z.clone()
    for place, feature in enumerate(FEATURES):
        scaled = -3.0 * tensors["mu"][1, place] * z[..., feature]
        new[..., feature] = torch.where(z[..., feature] > tensors["gate"][1, place], scaled, z[..., feature])
    assert 0 < ((new != z).any(dim=-1)).sum() < z[..., 0].numel()  # some positions pass the gate, not all
    error = x - (z @ tensors["W_dec"] + tensors["b_dec"])
    assert_close(edited(x, tensors), new @ tensors["W_dec"] + tensors["b_dec"] + error, rtol=0, atol=1e-12)


def test_the_change_lies_in_the_chosen_decoder_rows_with_the_coefficients_of_equation_3():
    x, tensors = problem()
    tensors["gate"] = torch.zeros(3, 3, dtype=torch.float64)
    rows = tensors["W_dec"][FEATURES]
    coefficients = torch.linalg.lstsq(rows.mT, (edited(x, tensors) - x).flatten(0, 1).mT).solution.mT
    expected = (-3.0 * tensors["mu"][1] - 1) * code(x, tensors)[..., FEATURES]
    assert (expected != 0).any(dim=(0, 1)).all()
    assert_close(coefficients.view(2, 9, 3), expected, rtol=0, atol=1e-10)
    assert_close((coefficients @ rows).view_as(x), edited(x, tensors) - x, rtol=0, atol=1e-10)


def test_without_features_or_at_a_multiple_of_1_the_error_is_kept_and_x_returned():
    x, tensors = problem()
    nothing = {**tensors, "active": torch.zeros(3, 3, dtype=torch.bool)}
    assert edited(x, nothing) is x  # with the official sign it would be 2x̂ − x
    once = {**tensors, "mu": torch.ones(3, 3, dtype=torch.float64)}
    assert_close(edited(x, once, multiplier=1.0), x, rtol=0, atol=1e-12)
    rebuilt = code(x, tensors) @ tensors["W_dec"] + tensors["b_dec"]
    assert not torch.allclose(2 * rebuilt - x, x, atol=0.1)


def test_a_position_at_or_below_its_average_is_left_alone():
    x, tensors = problem()
    highest = code(x, tensors)[..., FEATURES].amax(dim=(0, 1))
    assert (highest > 0).all()
    assert torch.equal(edited(x, {**tensors, "gate": highest.expand(3, 3)}), x)


@pytest.mark.parametrize(("timestep", "step"), [(900.0, 0), (999.0, 0), (699.0, 1), (280.0, 2), (1.0, 2)])
def test_the_tables_are_those_of_the_nearest_timestep(timestep, step):
    x, tensors = problem()
    active = torch.zeros(3, 3, dtype=torch.bool)
    active[step] = True
    assert not torch.allclose(edited(x, {**tensors, "active": active}, timestep=timestep), x)
    assert edited(x, {**tensors, "active": ~active}, timestep=timestep) is x


def test_both_halves_are_edited_or_the_conditional_one_alone():
    x, tensors = problem()
    both, cond = edited(x, tensors), edited(x, tensors, rows="cond")
    assert not torch.allclose(both[0], x[0]) and not torch.allclose(both[1], x[1])
    assert torch.equal(cond[0], x[0]) and torch.equal(cond[1], both[1])
    assert_close(edited(x[1:], tensors, roles=("cond",)), both[1:])  # without guidance there is no half


def test_scores_of_a_step_sum_to_zero_and_are_shares_of_all_activity():
    concept, others = normal(4, N).abs(), normal(4, N, seed=1).abs() * 3
    scores = importance(concept, others)
    assert_close(scores.sum(dim=1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-7)
    assert scores[2, 5].item() == pytest.approx(
        (concept[2, 5] / concept[2].sum() - others[2, 5] / others[2].sum()).item(), abs=1e-7
    )


def test_equal_tables_score_zero_and_choose_nothing():
    same = normal(4, N).abs()
    scores = importance(same, same)
    assert (scores == 0).all() and not above(scores, 50.0).any()


@pytest.mark.parametrize(("percentile", "chosen"), [(99.999, 1), (99.995, 2), (99.99, 3)])
def test_the_published_percentiles_choose_1_2_and_3_of_20480_features(percentile, chosen):
    marked = above(normal(2, 20480).float(), percentile)
    assert marked.sum(dim=1).tolist() == [chosen, chosen]
    scores = normal(2, 20480).float()
    assert (scores[marked].view(2, -1).amin(1) > torch.where(marked, -torch.inf, scores).amax(1)).all()


def table(mean: torch.Tensor) -> ActivationTable:
    return ActivationTable(TIMES[: mean.shape[1]], mean, torch.full((mean.shape[2],), 0.25))


def test_features_means_and_gates_are_found_step_by_step():
    fox, cat, dog = torch.ones(2, 2, 4), torch.ones(4, 2, 4), torch.ones(1, 2, 4)
    fox[0, 0, 1] = 5.0  # a mean of 3 at the first step
    fox[:, 1, 2] = 9.0
    cat[:, 0, 1] = 2.0
    found = locate({"fox": table(fox), "cat": table(cat), "dog": table(dog)}, ["fox"], 90.0)
    assert found.features.tolist() == [1, 2]
    assert found.active.tolist() == [[True, False], [False, True]]
    assert found.mu[found.active].tolist() == [3.0, 9.0]
    assert found.gate[found.active].tolist() == pytest.approx([(3 + 2 + 1) / 3, (9 + 1 + 1) / 3])


def test_others_are_pooled_by_prompt_and_without_the_concept_itself():
    fox, cat, dog = torch.ones(2, 1, 2), torch.ones(3, 1, 2), torch.ones(1, 1, 2)
    fox[..., 0], cat[..., 0], dog[..., 0] = 3.0, 1.0, 5.0  # the others: (1 + 1 + 1 + 5) / 4 = 2
    scores = scores_of({"fox": table(fox), "cat": table(cat), "dog": table(dog)}, "fox")
    assert scores.tolist() == [pytest.approx([3 / 4 - 2 / 3, 1 / 4 - 1 / 3])]


def test_several_concepts_take_the_strongest_multiple_of_a_shared_feature():
    fox, cat, dog = torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.ones(4, 1, 4)
    fox[..., 0], cat[..., 0], cat[..., 1] = 5.0, 3.0, 4.0
    tables = {"fox": table(fox), "cat": table(cat), "dog": table(dog)}
    both = locate(tables, ["fox", "cat"], 60.0)
    assert both.features.tolist() == [0, 1] and both.active.all()
    assert both.mu.tolist() == [[5.0, 4.0]]  # feature 1 is the cat's alone: the fox's mean of it does not count


def test_nothing_to_find_is_an_error():
    same = table(torch.ones(1, 2, 4))
    with pytest.raises(WorkbenchError, match="No feature is more active"):
        locate({"fox": same, "cat": same}, ["fox"], 50.0)


# --- on a pipeline ---------------------------------------------------------------------------------------------------

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", retain=["dog", "fox"], captions=["red dog", "a cat by a dog"], templates=["a {}"])


@pytest.fixture(scope="module")
def saeuron(tiny_sd1, tmp_path_factory) -> SAeUron:
    folder = tmp_path_factory.mktemp("sae") / "unet.mid"
    return SAeUron(sae=save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), folder), multiplier=-30.0, steps=3)


@pytest.fixture(scope="module")
def edit(tiny_sd1, saeuron):
    return saeuron.fit(tiny_sd1, [FOX])


def images(model, *edits, steps=3, **told):
    with model.edited(*edits):
        return model.generate("a photo of a fox", [0, 1], steps=steps, **told)


def test_the_table_is_the_mean_code_of_each_prompt_and_timestep_on_conditional_rows(tiny_sd1, saeuron):
    sae, site = open_sae(saeuron.sae), tiny_sd1.site("unet.mid")
    prompts = ["fox", "a dog"]
    seeds = [5, 2**40]
    made = activation_table(tiny_sd1, site, dictionary_on(sae, tiny_sd1), prompts, seeds, steps=3)
    for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        with torch.no_grad(), tiny_sd1.session(record=[site]) as session:
            tiny_sd1.generate(prompt, seed, steps=3)
        calls = [(clock, sae.encode(x[clock.mask("cond")])[0]) for clock, x in session.records["unet.mid"]]
        assert len(calls) > len(made.timesteps)  # this solver calls twice at one timestep
        for step, timestep in enumerate(made.timesteps.tolist()):
            at = torch.stack([z for clock, z in calls if clock.timestep == timestep])
            assert_close(made.mean[number, step], at.mean(dim=(0, 1)), atol=1e-5, rtol=1e-4)
            assert ((at > 0).sum(dim=-1) <= sae.cfg.k).all() and (at >= 0).all()
    assert made.mean.shape == (2, len(made.timesteps), 96)
    assert made.density.sum().item() <= sae.cfg.k and made.density.max() <= 1
    assert made.timesteps.tolist() == sorted(made.timesteps.tolist(), reverse=True)


def test_more_prompts_than_a_batch_give_the_same_rows(tiny_sd1, saeuron, monkeypatch):
    site, dictionary = tiny_sd1.site("unet.mid"), dictionary_on(open_sae(saeuron.sae), tiny_sd1)
    prompts = ["fox", "a dog", "cat"]
    whole = activation_table(tiny_sd1, site, dictionary, prompts, range(3), steps=2)
    monkeypatch.setattr("workbench.activations.reading.IMAGE_BATCH", 2)
    again = activation_table(tiny_sd1, site, dictionary, prompts, range(3), steps=2)
    assert_close(again.mean, whole.mean, atol=1e-4, rtol=1e-3)


def test_the_table_is_made_with_seeds_of_its_own_the_same_for_each_concept(tiny_sd1, saeuron, monkeypatch):
    """A suite's pictures have the seeds 0, 1, …: whoever fits on those is judged on pictures that it has seen."""
    asked = []
    monkeypatch.setattr(
        "workbench.erasure.saeuron.read",
        lambda *given, seeds, **more: asked.append(seeds) or read(*given, seeds=seeds, **more),
    )
    saeuron.fit(tiny_sd1, [FOX], seed=0)
    first = asked[0]
    assert len(asked) == 3 and all(seeds == first for seeds in asked) and len(first) == len(FOX.prompts())
    assert min(first) > 10_000 and first == drawn_seeds(len(first), 0) != drawn_seeds(len(first), 1)


def test_the_groups_are_the_concepts_each_retained_word_and_the_captions():
    assert prompt_groups([FOX]) == {
        "fox": ("a photo of a fox", "fox"), "dog": ("a photo of a dog", "dog"), "bear": ("a photo of a bear", "bear"),
    }  # fmt: skip
    joint = prompt_groups([FOX, CAT])
    assert list(joint) == ["fox", "cat", "dog", "bear", "captions"] and joint["captions"] == ("red dog",)
    with pytest.raises(WorkbenchError, match="erased as well"):
        prompt_groups([Concept("fox", captions=["a fox in the snow"])])


def test_two_pictures_after_each_other_are_equal_and_without_the_edit_the_model_is_as_before(tiny_sd1, edit):
    plain = images(tiny_sd1)
    with tiny_sd1.edited(edit):
        first, second = (tiny_sd1.generate("a photo of a fox", [0, 1], steps=3) for _ in range(2))
    assert np.array_equal(first, second) and not np.array_equal(first, plain)
    assert np.array_equal(images(tiny_sd1), plain)
    assert np.array_equal(images(tiny_sd1, edit.no_op()), plain)


@pytest.mark.parametrize("told", [{"steps": 7}, {"guidance_scale": 1.0}])
def test_pictures_of_other_steps_and_without_guidance_are_edited_too(tiny_sd1, edit, told):
    assert not np.array_equal(images(tiny_sd1, edit, **told), images(tiny_sd1, **told))


def test_the_edit_says_what_its_tables_were_made_with(tiny_sd1, edit, tmp_path):
    assert edit.settings["steps"] == 3 and edit.settings["scheduler"] == "PNDMScheduler"
    assert edit.tensors["active"].any(dim=0).all()
    edit.save(tmp_path / "edit")
    assert np.array_equal(images(tiny_sd1, load_edit(tmp_path / "edit")), images(tiny_sd1, edit))


def test_the_control_takes_the_same_steps_along_other_features(tiny_sd1, edit):
    control = edit.random(seed=1)
    assert not set(control.tensors["features"].tolist()) & set(edit.tensors["features"].tolist())
    clock = Clock("image", 0, Step(0, None, float(edit.tensors["timesteps"][0])), ("cond",))
    x = torch.randn(1, 30, edit.width, generator=torch.Generator().manual_seed(0))
    own, other = (deactivation(x, clock, one.tensors, one.settings) - x for one in (edit, control))
    moved = own.norm(dim=-1) > 0
    assert moved.any() and not torch.allclose(own, other)
    assert torch.equal(moved, other.norm(dim=-1) > 0)
    assert edit.tensors["active"][0].sum() == 1  # so that norms do not depend on angles between decoder rows
    assert_close(own.norm(dim=-1), other.norm(dim=-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "concept", "said"),
    [
        ({}, Concept("fox"), "needs `retain or captions`"),
        ({"sae": "toy/unet.9"}, FOX, "Unknown shipped SAE"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_a_remedy(tiny_sd1, saeuron, settings, concept, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(saeuron, **settings).fit(tiny_sd1, [concept])


def test_several_saes_are_fitted_each_by_itself_and_deactivate_together(tiny_sd1, saeuron, edit, tmp_path):
    other = save_tiny_sae(random_sae(tiny_sd1, "unet.up.1.0"), tmp_path / "sae")
    both = replace(saeuron, sae=(saeuron.sae, other))
    assert both.sae == (saeuron.sae, other)
    assert {path.parent.name for path in both.inputs()} == {"unet.mid", "sae"}
    made = both.fit(tiny_sd1, [FOX])
    assert [part.site for part in made.parts] == ["unet.mid", "unet.up.1.0"] and made.method == "saeuron"
    assert [part.settings["sae"] for part in made.parts] == [saeuron.sae, other]
    assert torch.equal(made.parts[0].tensors["mu"], edit.tensors["mu"])  # fitted on the model without the other
    assert np.array_equal(images(tiny_sd1, made), images(tiny_sd1, *made.parts))
    assert not np.array_equal(images(tiny_sd1, made), images(tiny_sd1, edit))


def test_of_several_saes_the_last_is_refused_before_a_picture_is_made(tiny_sd1, saeuron, tmp_path, monkeypatch):
    text = save_tiny_sae(random_sae(tiny_sd1, "text.0"), tmp_path / "text")
    monkeypatch.setattr("workbench.erasure.saeuron.read", lambda *given, **more: pytest.fail("a picture was made"))
    with pytest.raises(WorkbenchError, match="knows no steps"):
        replace(saeuron, sae=(saeuron.sae, text)).fit(tiny_sd1, [FOX])
    with pytest.raises(WorkbenchError, match="has no SAE"):
        SAeUron(sae=())


def test_a_text_site_and_a_percentile_of_100_are_refused(tiny_sd1, tmp_path):
    text = save_tiny_sae(random_sae(tiny_sd1, "text.0"), tmp_path / "text")
    with pytest.raises(WorkbenchError, match="knows no steps"):
        SAeUron(sae=text).fit(tiny_sd1, [FOX])
    with pytest.raises(WorkbenchError, match="percentile is 100"):
        SAeUron(percentile=100.0)


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"])
def test_it_works_on_every_architecture_that_it_supports(tiny, tmp_path, kind):
    model = tiny(kind)
    site = [alias for alias, site in model.sites().items() if site.component == "image"][-2]
    sae = save_tiny_sae(random_sae(model, site), tmp_path / "sae")
    edit = SAeUron(sae=sae, multiplier=-30.0, steps=2).fit(model, [FOX])
    assert not np.array_equal(images(model, edit, steps=2), images(model, steps=2))
    assert kind in SAeUron.supports.kinds
