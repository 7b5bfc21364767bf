"""RealEra against its equations: (1) by `torch.linalg.lstsq` in float64, (2) written out a prompt at a time."""

import pytest
import torch
from torch.testing import assert_close

from probes.neighbours import Neighbourhood
from saes.errors import WorkbenchError
from tests.losses import named, total
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.realera import RealEra, joined
from workbench.erasure.uce import UCE, kept_prompts, paired_prompts
from workbench.fitting.copies import denoiser_parameters, own_denoiser
from workbench.fitting.lora import attach, factors
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, generator_of
from workbench.fitting.training import train

FORMS = ["a photo of a {}", "{} by"]
FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=FORMS)
BEAR = Concept("bear", anchor="dog", retain=["cat"], templates=FORMS)
SOLVE = {"lora_steps": 0}
TRAIN = {"lora_steps": 2, "lora_images": 2, "neighbours": 2, "beyond": 2}


def weights(model):
    return {name: weight.detach().double() for name, weight in model.prompt_maps().items()}


def subject_rows(model, concepts=(FOX,), tokens="all"):
    """e and m of every prompt, float64."""
    uce = UCE(tokens=tokens, templates=True)
    return [uce.rows(model, "embeddings", pair) for pair in paired_prompts(model, concepts, True)]


def stacked(model, method, concepts):
    """(rows, where they are sent to, weights) of (1) without the damping, a row at a time."""
    area, draw, system = Neighbourhood(s1=method.s1, s2=method.s2, d1=method.d1, d2=method.d2), torch.Generator(), []
    draw.manual_seed(0)
    for e, m in subject_rows(model, concepts, method.tokens):
        n = len(e) if method.perturb == "all" else 1
        near, beyond = area.neighbours(e[:n], method.neighbours - 1, draw), area.beyond(e[:n], method.beyond, draw)
        system += [(e[i], m[i], 1.0) for i in range(len(e))]
        system += [(near[i, k], m[i], 1.0) for i in range(n) for k in range(near.shape[1])]
        system += [(beyond[i, b], beyond[i, b], method.beyond_scale) for i in range(n) for b in range(method.beyond)]
    kept = kept_prompts(concepts)
    for rows in UCE(tokens=method.tokens).kept_rows(model, "embeddings", kept, lambda items, *_: items):
        system += [(p, p, method.preserve_scale) for p in rows]
    rows, to, w = zip(*system, strict=True)
    return torch.stack(rows).double(), torch.stack(to).double(), torch.tensor(w).double()


@pytest.mark.parametrize("concepts", [[FOX], [FOX, BEAR]], ids=["one", "two"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"neighbours": 3, "beyond": 2, "beyond_scale": 0.3, "preserve_scale": 5.0, "damping": 2.0},
        {"tokens": "last", "neighbours": 4, "s1": 0.9, "s2": 1.0},
        {"perturb": "subject", "d1": 0.6, "d2": 0.7},
        {"neighbours": 1, "beyond": 3},
        {"beyond": 0},
    ],
    ids=str,
)
def test_every_map_solves_the_stacked_system(tiny_sd1, concepts, settings):
    method = RealEra(**(SOLVE | settings))
    edit = method.fit(tiny_sd1, concepts)
    rows, to, w = stacked(tiny_sd1, method, concepts)
    left = torch.cat([w[:, None].sqrt() * rows, method.damping**0.5 * torch.eye(16).double()])
    for name, W in weights(tiny_sd1).items():
        right = torch.cat([w[:, None].sqrt() * to @ W.T, method.damping**0.5 * W.T])
        expected = torch.linalg.lstsq(left, right, driver="gelsd").solution.T - W  # (1)
        assert_close(edit.delta(name).double(), expected, rtol=1e-4, atol=1e-6)
        assert expected.norm() > 1e-3


@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize("templates", [False, True])
def test_without_neighbours_and_what_is_beyond_it_is_uce(tiny_sd1, tokens, templates):
    same = {"tokens": tokens, "templates": templates, "damping": 3.0, "preserve_scale": 0.7}
    ours = RealEra(neighbours=1, beyond_scale=0.0, **SOLVE, **same).fit(tiny_sd1, [FOX])
    uce = UCE(**same).fit(tiny_sd1, [FOX])
    mined = RealEra(neighbours=2, beyond_scale=0.0, **SOLVE, **same).fit(tiny_sd1, [FOX])
    for name in uce.names:
        assert_close(ours.delta(name), uce.delta(name), rtol=0, atol=1e-8)
        assert (mined.delta(name) - uce.delta(name)).abs().max() > 1e-4


def test_a_heavy_damping_leaves_the_weights_where_they_are(tiny_sd1):
    edit = RealEra(damping=1e9, **SOLVE).fit(tiny_sd1, [FOX])
    assert all(edit.delta(name).norm() < 1e-5 for name in edit.names)


def test_fresh_neighbours_follow_and_what_is_beyond_stays_the_more_the_more_of_each_is_drawn(tiny_sd1):
    draw, area = torch.Generator().manual_seed(77), RealEra().area
    pairs = [(e.double(), m.double()) for e, m in subject_rows(tiny_sd1)]
    near = [(area.neighbours(e, 20, draw), m[:, None]) for e, m in pairs]
    beyond = [area.beyond(e, 20, draw) for e, _ in pairs]

    def figures(**settings):
        edit, missed, moved = RealEra(**SOLVE, **settings).fit(tiny_sd1, [FOX]), 0.0, 0.0
        for name, W in weights(tiny_sd1).items():
            after = (W + edit.delta(name).double()).T
            missed += sum((some @ after - m @ W.T).norm(dim=-1).mean() for some, m in near)
            moved += sum((some @ edit.delta(name).double().T).norm(dim=-1).mean() for some in beyond)
        return missed, moved

    settings = {"beyond": 0, "preserve_scale": 0.0, "damping": 0.1}
    assert figures(neighbours=16, **settings)[0] < 0.95 * figures(neighbours=1, **settings)[0]
    moved = [figures(beyond_scale=scale)[1] for scale in (0.0, 1.0, 10.0)]
    assert moved[0] > moved[1] > moved[2]


def prediction(model, prompt="a photo of a fox"):
    with torch.no_grad():
        return model.noise_prediction(model.noise([0]), 500, model.encode(prompt))


@pytest.mark.parametrize("neighbours", [1, 16], ids=["thin", "whole"])
def test_merged_factors_predict_as_the_adapters_on_the_solved_weights_do(tiny_sd1, neighbours):
    method = RealEra(neighbours=neighbours, beyond=4, tokens="last", templates=False, **SOLVE)
    solved = method.fit(tiny_sd1, [FOX])
    assert (solved.factors(solved.names[0]) is None) == (neighbours == 16)
    with tiny_sd1.edited(solved):
        own, edited = own_denoiser(tiny_sd1), prediction(tiny_sd1)
    adapters = attach(own, solved.names, 2, torch.Generator().manual_seed(0))
    assert_close(prediction(own), edited, rtol=0, atol=1e-6)
    for adapter in adapters.values():
        adapter.left.data.copy_(torch.randn(adapter.left.shape, generator=torch.Generator().manual_seed(1)))
    merged = WeightEdit(tensors=joined(solved, factors(adapters)), settings={}, method="realera", concepts=["fox"],
                        base_fingerprint=tiny_sd1.fingerprint)  # fmt: skip
    with tiny_sd1.edited(merged):
        assert_close(prediction(tiny_sd1), prediction(own), rtol=1e-5, atol=1e-5)
    assert (prediction(own) - edited).abs().max() > 1e-3


def by_hand(model, own, method, lesson, draw):
    """(2), a prompt at a time, with the same draws in the same order."""
    number, line = int(torch.randint(len(lesson.x0), (), generator=draw)), int(torch.randint(2, (), generator=draw))
    alphas, x0 = model.pipe.scheduler.alphas_cumprod, lesson.x0[number]
    time = int(torch.randint(len(alphas), (), generator=draw))
    x = (alphas[time] ** 0.5 * x0 + (1 - alphas[time]) ** 0.5 * torch.randn(x0.shape, generator=draw))[None]
    prompt = FORMS[line].format("fox")
    fox, cat = model.encode(prompt), model.encode(FORMS[line].format("cat"))
    start = {"a photo of a fox": 5, "fox by": 1}[prompt]
    stop = {"all": 12, "subject": start + 1}[method.perturb]
    area, e = Neighbourhood(), fox.embeddings[0, start:stop]
    eta, xi = area.neighbours(e, 1, draw)[:, 0], area.beyond(e, 1, draw)[:, 0]

    def noise(of, encoding, rows=None):
        embeddings = encoding.embeddings.clone()
        if rows is not None:
            embeddings[0, start:stop] = rows
        out = of.noise_prediction(x, time, type(encoding)(embeddings, encoding.pooled, encoding.roles))
        if model.kind == "sd2":  # predicts v
            out = alphas[time] ** 0.5 * out + (1 - alphas[time]) ** 0.5 * x
        return out

    erase = (noise(own, fox, eta) - noise(model, cat)).square().mean()
    beyond = (noise(own, fox, xi) - noise(model, fox, xi)).square().mean()
    return erase, beyond


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("perturb", ["all", "subject"])
def test_the_loss_is_equation_2(tiny, kind, perturb):
    model = tiny(kind)
    method = RealEra(lora_images=2, lora_beyond=0.3, perturb=perturb)
    lesson, own = method.lesson(model, FOX, seed=0), own_denoiser(model)
    for name in model.prompt_maps():
        own.parameter(name).mul_(0.5)
    for step in range(3):
        with torch.no_grad():
            got = total(method.losses(model, own, lesson, generator_of(0, step)))
            erase, beyond = by_hand(model, own, method, lesson, generator_of(0, step))
        assert_close(got, erase + 0.3 * beyond, rtol=1e-4, atol=1e-9)
        assert erase > 1e-7 and beyond > 1e-7


def test_untrained_adapters_on_unsolved_weights_lose_nothing_beyond_and_only_they_get_gradients(tiny_sd1):
    lesson, own = RealEra(lora_images=2).lesson(tiny_sd1, FOX, seed=0), own_denoiser(tiny_sd1)
    adapters = attach(own, list(tiny_sd1.prompt_maps()), 1, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def beyond():
        return float(named(RealEra().losses(tiny_sd1, own, lesson, generator_of(0, 0)))["beyond"])

    assert beyond() < 1e-12
    trained = [factor for adapter in adapters.values() for factor in adapter]
    for factor in trained:
        factor.requires_grad_(True)
    total(RealEra().losses(tiny_sd1, own, lesson, generator_of(0, 0))).backward()
    with_gradient = [name for name, one in denoiser_parameters(own).items() if one.grad is not None]
    assert len(with_gradient) == len(trained) and all("lora" in name for name in with_gradient)
    assert all(one.grad is None for one in denoiser_parameters(tiny_sd1).values())
    assert all(adapter.left.grad.abs().sum() > 0 for adapter in adapters.values())
    for adapter in adapters.values():
        adapter.left.data += 0.3
    assert beyond() > 1e-9


def test_training_brings_the_noise_nearer_to_the_anchors(tiny_sd1):
    method, own = RealEra(lora_images=2, lora_beyond=0.0), own_denoiser(tiny_sd1)
    lesson = method.lesson(tiny_sd1, FOX, seed=0)
    adapters = attach(own, list(tiny_sd1.prompt_maps()), 1, torch.Generator().manual_seed(0))

    def mean_loss():
        with torch.no_grad():
            return sum(float(total(method.losses(tiny_sd1, own, lesson, generator_of(9, step)))) for step in range(5))

    before = mean_loss()
    factor_list = [factor for adapter in adapters.values() for factor in adapter]
    named = {str(i): one for i, one in enumerate(factor_list)}
    train(Player(named, lambda step, draw: method.losses(tiny_sd1, own, lesson, draw), Plan(steps=15, lr=0.06)))
    assert mean_loss() < 0.9 * before


def test_both_stages_change_keys_and_values_of_cross_attention_alone(tiny_sd1, tiny_sdxl):
    for model in (tiny_sd1, tiny_sdxl):
        solved = RealEra(**(TRAIN | SOLVE)).fit(model, [FOX])
        edit = RealEra(lora_lr=0.1, **TRAIN).fit(model, [FOX])
        assert edit.names == sorted(model.prompt_maps()) == solved.names
        for name in edit.names:
            change = edit.delta(name) - solved.delta(name)
            values = torch.linalg.svdvals(change.double())
            assert values[0] > 1e-4 and values[1] < 1e-3 * values[0], "the second stage adds one rank"


def test_settings_tell_what_was_drawn(tiny_sd1):
    edit = RealEra(**SOLVE).fit(tiny_sd1, [FOX], seed=3)
    assert edit.seed == 3 and edit.settings["d1"] == pytest.approx(1.05 * (1 - 0.85**2) ** 0.5)
    assert edit.settings["d2"] == pytest.approx(2 * edit.settings["d1"]) and edit.settings["anchors"] == {"fox": "cat"}
    other = RealEra(**SOLVE).fit(tiny_sd1, [FOX], seed=4)
    assert not torch.equal(other.delta(other.names[0]), edit.delta(edit.names[0]))


@pytest.mark.parametrize("settings", [{"neighbours": 0}, {"beyond": -1}, {"lora_steps": -1}, {"lora_rank": 0}])
def test_numbers_below_their_least_are_refused(settings):
    with pytest.raises(WorkbenchError, match=next(iter(settings))):
        RealEra(**settings)


def test_an_empty_neighbourhood_is_refused_before_any_work():
    with pytest.raises(WorkbenchError, match="no neighbours to draw"):
        RealEra(d1=0.1)
