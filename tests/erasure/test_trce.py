"""TRCE against its equations: stage 1 by least squares in float64, stage 2 by its losses written out again."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.losses import total
from workbench.concepts import Concept
from workbench.erasure.trce import TRCE, Models, Places, amplified, is_trained, kept_prompts, triplet
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.embedding import embed
from workbench.fitting.pairs import Pair, safe_pairs
from workbench.fitting.trajectories import Partway, trajectories
from workbench.models import load
from workbench.testing.state import state_of

FOX = Concept("fox", anchor="cat", synonyms=["zebra"], retain=["dog"], templates=["a photo of a {}", "{} by"])
BLANK = Concept("fox", captions=["a red bear", "a dog"], templates=["a red bear by {}"], implied=["a dog of red"])
TOY = {"preserve_scale": 0.1, "damping": 1.0}  # for a few kept prompts
SMALL = {"trajectories": 2, "unconditional": 3, "epochs": 2, "steps": 4, "early": 2, "keep_batch": 2}


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])  # sd2 predicts v
def exact(request, tiny):
    """Tiny models in float64."""
    return load(tiny(request.param).folder, device="cpu", dtype=torch.float64)


def weights(model):
    return {name: weight.detach().double() for name, weight in model.prompt_maps().items()}


def gathered(model, concept):
    """m, s and k in float64: the rows of the sentences' first end tokens, and all rows of what is kept."""

    def ends(prompts):
        lengths = [len(model.pipe.tokenizer(prompt).input_ids) for prompt in prompts]
        return torch.stack([embed(model, [p])[0, n - 1] for p, n in zip(prompts, lengths, strict=True)]).double()

    unsafe, safe = zip(*safe_pairs(concept), strict=True)
    return ends(unsafe), ends(safe), embed(model, kept_prompts([concept])).double()


def noisy(twin, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in denoiser_parameters(twin).values():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator).to(weight)
    return twin


def three_models(model):
    """ε, ε₁ and ε̂ that differ, so that one in another's place would show."""
    return Models(model, noisy(own_denoiser(model), 1), noisy(own_denoiser(model), 2))


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("concept", [FOX, BLANK], ids=["anchor", "captions"])
@pytest.mark.parametrize("settings", [TOY, {"preserve_scale": 0.7, "damping": 0.03}])
def test_stage_1_solves_the_stacked_system(tiny, kind, concept, settings):
    model, method = tiny(kind), TRCE(stages="1", **settings)
    edit = method.fit(model, [concept])
    m, s, k = gathered(model, concept)
    n, kept, k = len(m), len(k), k.flatten(0, 1)
    eta, d = method.preserve_scale**2, m.shape[1]
    left = torch.cat([m / n**0.5, (eta / kept) ** 0.5 * k, method.damping**0.5 * torch.eye(d, dtype=torch.float64)])
    for name, W in weights(model).items():
        right = torch.cat([s @ W.T / n**0.5, (eta / kept) ** 0.5 * k @ W.T, method.damping**0.5 * W.T])
        expected = torch.linalg.lstsq(left, right, driver="gelsd").solution.T - W
        assert_close(edit.delta(name).double(), expected, rtol=1e-3, atol=1e-5)
        assert expected.norm() > 1e-2


def test_defaults_are_those_of_the_code_and_fit_as_well_as_any_solution(tiny_sd1):
    """√η = 0.01 and no damping: (1) is as small as least squares on the stacked rows makes it."""
    method = TRCE(stages="1")
    assert (method.preserve_scale, method.damping, TRCE().lr) == (0.01, 0.0, 1e-6)
    edit, (m, s, k) = method.fit(tiny_sd1, [FOX]), gathered(tiny_sd1, FOX)
    share, k = (0.01**2 / len(k)) ** 0.5, k.flatten(0, 1)
    left = torch.cat([m / len(m) ** 0.5, share * k])
    for name, W in weights(tiny_sd1).items():
        right = torch.cat([s @ W.T / len(m) ** 0.5, share * k @ W.T])
        best = torch.linalg.lstsq(left, right, driver="gelsd").solution
        least, got, before = (
            (left @ map_ - right).square().sum() for map_ in (best, (W + edit.delta(name).double()).T, W.T)
        )
        assert got - least < 1e-4 * (before - least) and least < 0.2 * before


def test_sentences_that_are_safe_already_change_nothing(tiny_sd1):
    same = [Pair("a fox", "a fox"), Pair("a dog", "a dog")]
    tensors = TRCE().mapped(tiny_sd1, same, ["", "a cat"])
    changed = TRCE().mapped(tiny_sd1, [Pair("a fox", "a dog")], ["", "a cat"])
    largest = {key: value.abs().max() for key, value in tensors.items() if key != ":right"}
    assert largest and max(largest.values()) < 1e-12
    assert max(changed[key].abs().max() for key in changed if key != ":right") > 1e-2


def test_the_more_is_kept_the_less_is_moved_until_nothing_is(tiny_sd1):
    m, s, _ = gathered(tiny_sd1, FOX)

    def missed(preserve_scale, damping=1e-3):
        edit = TRCE(stages="1", preserve_scale=preserve_scale, damping=damping).fit(tiny_sd1, [FOX])
        maps = [(W, edit.delta(name).double()) for name, W in weights(tiny_sd1).items()]
        return sum(((W + delta) @ m.T - W @ s.T).square().sum().item() for W, delta in maps), maps

    misses = [missed(scale)[0] for scale in (0.01, 0.1, 1.0, 10.0)]
    assert misses == sorted(misses) and misses[0] < 0.5 * misses[-1]
    assert max(delta.abs().max() for _, delta in missed(1e5, 1.0)[1]) < 1e-6


def test_each_stage_changes_its_own_parameters_and_stage_2_alone_leaves_the_maps(tiny_sd1):
    maps = set(tiny_sd1.prompt_maps())
    trained = set(denoiser_parameters(tiny_sd1, is_trained))
    blocks = {name.rsplit(".attn", 1)[0] for name in maps}
    attn1 = {f"{block}.attn1.{last}" for block in blocks
             for last in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias")}  # fmt: skip
    assert trained == attn1 | {f"{block}.attn2.to_q.weight" for block in blocks}
    names = {stages: TRCE(stages=stages, lr=1e-3, **SMALL).fit(tiny_sd1, [FOX]).names for stages in ("1", "2", "both")}
    assert names == {"1": sorted(maps), "2": sorted(trained), "both": sorted(maps | trained)}


def test_the_loss_at_the_safe_and_at_the_unsafe_prediction():
    f_safe, f_unsafe = torch.randn(2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    apart = (f_safe - f_unsafe).square().mean()
    assert_close(triplet(f_unsafe, f_safe, f_unsafe, 1.0, 0.01), apart + 0.01)
    assert triplet(f_safe, f_safe, f_unsafe, 1.0, 0.01) == 0 < apart - 0.01
    assert_close(triplet(f_safe, f_safe, f_unsafe, 1.0, 5 * float(apart)), 4 * apart)
    assert_close(triplet(f_unsafe, f_safe, f_unsafe, 3.0, 0.01), 3 * (apart + 0.01))


def test_one_and_the_same_prompt_gives_the_margin_and_no_gradient():
    u = torch.ones(4, requires_grad=True)
    value = triplet(u, torch.full((4,), 2.0), torch.full((4,), 2.0), 1.0, 0.01)
    value.backward()
    assert_close(value.item(), 0.01)
    assert not u.grad.any()
    assert_close(amplified(torch.tensor(2.0), torch.tensor(1.0), 15.0), torch.tensor(17.0))


def test_the_loss_of_a_step_is_that_of_the_paper_in_noise_space(exact):
    """(3) to (7) written out with a pass for every latent, and for v-prediction ε = √ᾱ v + √(1−ᾱ) x; the latents of (6)
    are at timesteps of their own, before and after that of (5)."""
    method, t, times = TRCE(margin=0.3, beta=2.0), 600, [20, 900]
    models, x, x_u = three_models(exact), exact.noise([0]).double(), exact.noise([1, 2]).double()
    got = total(method.losses(models, Partway(x, t), Places(x_u, torch.tensor(times)), Pair("a fox", "a red dog")))

    words = {"m": exact.encode("a fox"), "s": exact.encode("a red dog"), "0": exact.encode("", role="uncond")}

    def eps(which, latents, c, time=t):
        with torch.no_grad():
            raw = which.noise_prediction(latents, time, words[c])
        alpha = exact.pipe.scheduler.alphas_cumprod[time].double()
        return alpha.sqrt() * raw + (1 - alpha).sqrt() * latents if exact.kind == "sd2" else raw

    f_s, f_m = (16 * eps(exact, x, c) - 15 * eps(exact, x, "0") for c in ("s", "m"))
    terms = [
        torch.relu(2 * (((u - f_s) ** 2).mean() - ((u - f_m) ** 2).mean() + 0.3))
        for u in (eps(models.student, x, "m"), eps(models.student, x, "0"))
    ]
    each = [(x_u[[i]], time) for i, time in enumerate(times)]
    apart = [(eps(models.student, one, "0", time) - eps(models.kept, one, "0", time)) ** 2 for one, time in each]
    keep = torch.cat(apart).mean()
    assert_close(got.item(), (sum(terms) / 2 + 100 * keep).item(), rtol=1e-10, atol=0)
    assert min(terms) > 0 and 100 * keep > 0.01


def test_training_compares_the_unedited_model_with_stage_1_at_latents_of_their_own_time(tiny_sd1, monkeypatch):
    """Stage 1 in the place of the unedited model, or a latent with another step's time, would be another method; and so
    would be one that keeps early steps alone, which are all that it erases on."""
    made, seen = [], []
    paths, losses = TRCE.paths, TRCE.losses
    monkeypatch.setattr(TRCE, "paths", lambda *given: made.append((given[2], paths(*given))) or made[0][1])
    monkeypatch.setattr(TRCE, "losses", lambda *given: seen.append(given[1:]) or losses(*given))
    stage_1 = TRCE(stages="1").fit(tiny_sd1, [FOX])
    TRCE(lr=1e-30, **(SMALL | {"epochs": 10})).fit(tiny_sd1, [FOX])
    chosen, (unsafe, empty) = made[0]
    assert len(seen) == 20 and set(chosen) <= set(safe_pairs(FOX))
    assert len(unsafe.timesteps) == 2 and len(empty.timesteps) == 4, "early steps, and all"
    kept = [set(places.timesteps.tolist()) for _, _, places, _ in seen]
    assert set().union(*kept) == set(empty.timesteps) > {t for _, (_, t), _, _ in seen} == set(unsafe.timesteps)
    assert any(len(times) > 1 for times in kept), "a step of its own for each latent"
    for models, (x, t), (x_u, times), pair in seen:
        k = unsafe.timesteps.index(t)
        assert pair in [chosen[i] for i in range(2) if torch.equal(unsafe.latents[i, k], x[0])]
        for one, time in zip(x_u, times.tolist(), strict=True):
            k = empty.timesteps.index(time)
            assert any(torch.equal(one, other) for other in empty.latents[:, k])
        assert models.base.pipe.unet.conv_in.weight is tiny_sd1.pipe.unet.conv_in.weight
        for name in stage_1.names:
            expected = tiny_sd1.parameter(name) + stage_1.delta(name)
            assert_close(models.kept.parameter(name), expected)
            assert_close(models.student.parameter(name), expected)
            assert stage_1.delta(name).abs().max() > 1e-3


def test_kept_are_retained_words_in_their_templates_captions_and_the_empty_prompt():
    wolf = Concept("wolf", anchor="dog", retain=["fox", "bear"], templates=["a {}"], captions=["a tree"])
    assert kept_prompts([FOX, wolf]) == ["", "a photo of a dog", "dog by", "a bear", "a tree"]


def test_before_training_nothing_has_been_lost_yet(tiny_sd1):
    """The reference of (6) is stage 1, where training starts; the same loss with another student is larger."""
    kept = noisy(own_denoiser(tiny_sd1), 1)
    same = Pair("a fox", "a fox")
    places = Partway(tiny_sd1.noise([0]), 600), Places(tiny_sd1.noise([1]), torch.tensor([300]))
    start = total(TRCE().losses(Models(tiny_sd1, kept, own_denoiser(kept)), *places, same)).item()
    other = total(TRCE().losses(Models(tiny_sd1, kept, noisy(own_denoiser(kept), 2)), *places, same)).item()
    assert_close(start, 0.01, rtol=1e-3, atol=1e-5)
    assert other > 0.02


def test_a_step_of_no_length_leaves_stage_1_and_no_step_touches_the_model(tiny_sd1):
    before = state_of(tiny_sd1)
    settings = SMALL | {"trajectories": 1, "epochs": 1}
    still = TRCE(stages="2", lr=1e-30, **settings).fit(tiny_sd1, [FOX])
    moved = TRCE(stages="2", lr=1e-2, **settings).fit(tiny_sd1, [FOX])
    assert state_of(tiny_sd1) == before
    assert max(still.delta(name).abs().max() for name in still.names) == 0
    assert min(moved.delta(name).abs().max() for name in moved.names) > 0


def test_training_brings_the_early_predictions_nearer_to_the_safe_ones(tiny_sd1):
    method = TRCE(stages="2", **(SMALL | {"trajectories": 4, "epochs": 5}), keep_scale=0.0, lr=1e-2)
    edit = method.fit(tiny_sd1, [FOX])
    with tiny_sd1.edited(edit):
        student = own_denoiser(tiny_sd1)
    path = trajectories(tiny_sd1, ["a photo of a fox"], [9], steps=4, seen=2, guidance_scale=3.0)
    pair, first = Pair("a photo of a fox", "a photo of a cat"), Partway(path.latents[:, 0], path.timesteps[0])
    places = Places(tiny_sd1.noise([1]), torch.tensor([300]))
    before, after = (
        total(method.losses(Models(tiny_sd1, tiny_sd1, one), first, places, pair)) for one in (tiny_sd1, student)
    )
    assert after < 0.8 * before


def test_piled_up_gradients_are_another_training(tiny_sd1):
    one, other = (TRCE(stages="2", lr=1e-3, accumulate=pile, **SMALL).fit(tiny_sd1, [FOX]) for pile in (False, True))
    name = one.names[0]
    assert not torch.equal(one.delta(name), other.delta(name))


def test_bad_settings_and_concepts_are_refused_in_words(tiny_sd1):
    with pytest.raises(WorkbenchError, match="epochs is 0"):
        TRCE(epochs=0)
    with pytest.raises(WorkbenchError, match="damping is -1"):
        TRCE(damping=-1.0)
    with pytest.raises(WorkbenchError, match="9 of 5 steps"):
        TRCE(steps=5, early=9)
    with pytest.raises(WorkbenchError, match="same tokens"):
        TRCE().fit(tiny_sd1, [Concept("fox", anchor="fox ", retain=["dog"])])
    with pytest.raises(WorkbenchError, match="ends at token"):
        TRCE().fit(tiny_sd1, [Concept("fox", anchor="cat", retain=["dog"], templates=["zebrazebra of {}"])])
