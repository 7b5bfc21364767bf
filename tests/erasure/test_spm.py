"""SPM: its loss against one written out, its anchors, and what an adapter is at the start and after training."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.losses import named
from workbench.concepts import Concept
from workbench.edits import AdapterEdit, combined
from workbench.erasure.spm import SPM, anchors_of, drawn_anchors, fresh, layers_of, parameters_of, sizes
from workbench.fitting.copies import own_denoiser
from workbench.fitting.views import Seen
from workbench.models import load
from workbench.models.beside import Term, beside

FOX = Concept("fox", anchor="cat", synonyms=["red dog"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", anchor="dog", templates=["a photo of a {}", "{}"])
QUICK = SPM(sampler="frozen", trajectories=2, steps=3, iterations=3, warmup=0, lr=1e-2, anchors=2)


@pytest.fixture(scope="module")
def exact(tiny_sd1):
    """The tiny model in float64."""
    return load(str(tiny_sd1.folder), device="cpu", dtype=torch.float64)


def seen_of(model, method, texts=("fox", "a photo of a fox"), timesteps=(300, 700)) -> Seen:
    """A batch whose target is written out, row by row."""
    latents, rows = model.noise(range(len(texts))).double(), []
    with torch.no_grad():
        for x, t, text in zip(latents, timesteps, texts, strict=True):
            cond, none, anchor = (model.noise_prediction(x[None], t, model.encode(one)) for one in (text, "", "cat"))
            neutral = anchor if method.to_anchor else none
            rows.append(neutral - method.negative_guidance * (cond - neutral))
    return Seen(latents, torch.tensor(timesteps), list(texts), torch.cat(rows))


def adapter_of(model, method, size=0.0, seed=0) -> dict[str, Term]:
    """A fresh adapter, or one with random u."""
    generator = torch.Generator().manual_seed(seed)
    adapter = fresh(layers_of(model), method.rank, generator)
    for term in adapter.values():
        term.up.data = size * torch.randn(term.up.shape, generator=generator)
    return adapter


def edit_of(model, method, adapter) -> AdapterEdit:
    tensors = {f"0:{name}": one.detach() for name, one in parameters_of(adapter).items()}
    return AdapterEdit(
        tensors=tensors, targets=[["fox"]], alphas=[method.alpha], gate="always", settings={}, method="spm",
        concepts=["fox"], base_fingerprint=model.fingerprint,
    )  # fmt: skip


def terms_of(model, method, adapter, seen, seed=5):
    """What training minimises, with gradients on the adapter's factors."""
    student = own_denoiser(model, lambda name: False)
    for one in parameters_of(adapter).values():
        one.requires_grad_(True)
    with beside(student.module, adapter, lambda: method._scaled):
        return named(method.losses(model, student, seen, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("told", [{}, {"official_anchors": True}, {"to_anchor": True, "rank": 2, "alpha": 0.5}])
def test_the_loss_is_the_one_written_out_on_a_model_with_merged_weights(exact, told):
    method = SPM(anchors=4, anchoring=7.0, negative_guidance=0.7, **told)
    adapter, seen = adapter_of(exact, method, size=0.3), seen_of(exact, method)
    got = terms_of(exact, method, adapter, seen)
    generator = torch.Generator().manual_seed(5)
    texts = exact.encode(seen.prompts)
    anchors = [drawn_anchors(texts, generator) for _ in range(2 if method.official_anchors else 4)]

    def predictions(*edits):
        with exact.edited(*edits), torch.no_grad():
            rows = list(zip(seen.latents, seen.timesteps.tolist(), range(2), strict=True))

            def of(encoding):
                each = [replace(encoding, embeddings=encoding.embeddings[i : i + 1], roles=("cond",)) for i in range(2)]
                each = [replace(one, prompts=None) for one in each]
                return torch.cat([exact.noise_prediction(x[None], t, each[i]) for x, t, i in rows])

            return of(texts), [of(one) for one in (exact.encode(["", ""]), *anchors)]

    base, moved = predictions(), predictions(edit_of(exact, method, adapter).opened())
    erasure = (moved[0] - seen.target).square().mean()
    changes = [(there - here).square().mean() for there, here in zip(moved[1], base[1], strict=True)]
    if method.official_anchors:  # ∅, e_3, ∅, e_4
        changes = [changes[0], changes[1], changes[0], changes[2]]
    torch.testing.assert_close(got["erasure"].detach(), erasure, rtol=1e-6, atol=0)
    torch.testing.assert_close(got["anchoring"].detach(), 7.0 * torch.stack(changes).mean(), rtol=1e-5, atol=0)


def test_a_fresh_adapter_changes_nothing_and_learns_by_u_first(exact):
    method = SPM(negative_guidance=0.7, anchors=2)
    adapter, seen = adapter_of(exact, method), seen_of(exact, method)
    terms = terms_of(exact, method, adapter, seen)
    with torch.no_grad():
        each = zip(seen.latents, seen.timesteps.tolist(), seen.prompts, strict=True)
        apart = [
            exact.noise_prediction(x[None], t, exact.encode(text))
            - exact.noise_prediction(x[None], t, exact.encode(""))
            for x, t, text in each
        ]
    torch.testing.assert_close(terms["erasure"].detach(), 1.7**2 * torch.cat(apart).square().mean())
    assert float(terms["anchoring"].detach()) == 0
    sum(terms.values()).backward()
    assert all(not term.down.grad.any() for term in adapter.values())
    assert all(term.up.grad.any() for term in adapter.values())


HALF = [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.gpu)]  # the CPU has no training beside float16


@pytest.mark.parametrize("sampler", ["student", "frozen"])
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_anchoring_is_0_at_the_start_in_every_precision_and_not_after_it(tiny, kind, dtype, sampler, monkeypatch):
    """λ is 1000: any other rounding of the teacher would be most of the loss."""
    losses, parts = [], SPM.losses
    monkeypatch.setattr(SPM, "losses", lambda *given: losses.append(list(parts(*given))) or iter([named(losses[-1])]))
    loaded = load(tiny(kind).folder, device="cuda" if dtype == torch.float16 else "cpu", dtype=dtype)
    replace(QUICK, sampler=sampler, iterations=2).fit(loaded, [FOX])
    first, second = (float(named(parts)["anchoring"].detach()) for parts in losses)
    assert first == 0 < second


def test_trajectories_are_rescaled_as_the_script_of_each_model_does(tiny_sd1, tiny_sdxl):
    def drawn(model, **told):
        method = replace(QUICK, **told)
        path = method._frozen(model, FOX, 0, SILENT).latents[0, -1]
        online = method.online(model, model, FOX, torch.Generator().manual_seed(3)).latents
        return path, online, method.fit(model, [FOX]).settings["guidance_rescale"]

    for model, usual in ((tiny_sd1, 0.0), (tiny_sdxl, 0.7)):
        default, said, other = drawn(model), drawn(model, guidance_rescale=usual), drawn(model, guidance_rescale=0.3)
        assert default[2] == said[2] == usual and other[2] == 0.3
        for mine, same, not_same in zip(default[:2], said[:2], other[:2], strict=True):
            assert torch.equal(mine, same) and not torch.allclose(mine, not_same)


def test_gradients_are_those_of_finite_differences(exact):
    method = SPM(anchors=2, anchoring=3.0)
    adapter, seen = adapter_of(exact, method, size=0.3), seen_of(exact, method)
    name, one = list(parameters_of(adapter).items())[5]
    sum(terms_of(exact, method, adapter, seen).values()).backward()
    direction = torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    wanted, start, step = float((one.grad * direction).sum()), one.data.clone(), 2.0**-8

    def value(at):
        one.data = start + at * direction
        return float(sum(terms_of(exact, method, adapter, seen).values()))

    assert wanted == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-3), name


def test_an_adapter_is_beside_every_layer_of_the_attention_blocks_and_no_other(tiny_sd1):
    layers, unet = layers_of(tiny_sd1), tiny_sd1.pipe.unet
    blocks = [name for name, part in unet.named_modules() if type(part).__name__ == "BasicTransformerBlock"]
    assert len(layers) == 12 * len(blocks)
    ends = (path.split(".attentions.")[1].split(".", 1)[1] for path in layers)
    assert {end.removeprefix("transformer_blocks.0.") for end in ends} == {
        "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
        *(f"{attn}.{one}" for attn in ("attn1", "attn2") for one in ("to_q", "to_k", "to_v", "to_out.0")),
    }  # fmt: skip
    numbers = sum(one.numel() for one in parameters_of(fresh(layers, 1, torch.Generator())).values())
    assert numbers == sum(sum(layer.weight.shape[:2]) for layer in layers.values())


def test_a_fresh_d_is_uniform_over_one_by_the_root_of_its_inputs():
    layers = {"linear": nn.Linear(400, 3), "convolution": nn.Conv2d(100, 5, 3)}
    adapter = fresh(layers, 2, torch.Generator().manual_seed(0))
    for name, inputs in (("linear", 400), ("convolution", 900)):
        scaled = adapter[name].down.detach() * inputs**0.5
        assert scaled.abs().max() <= 1 and float(scaled.var()) == pytest.approx(1 / 3, rel=0.1)
        assert not adapter[name].up.any()


def test_every_change_of_a_trained_adapter_has_rank_1_and_the_weights_stay(tiny_sd1):
    before = {name: one.detach().clone() for name, one in tiny_sd1.pipe.unet.named_parameters()}
    edit = QUICK.fit(tiny_sd1, [FOX])
    assert {row["rank"] for row in edit.rows()} == {1}
    assert all(torch.equal(one, before[name]) for name, one in tiny_sd1.pipe.unet.named_parameters())


def test_anchors_have_nearly_the_length_of_the_concept_and_no_direction_in_common():
    e = (
        torch.randn(3, 40, 50, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 2.0, 5.0])[:, None, None]
    )
    drawn = torch.stack([anchors_of(e, torch.Generator().manual_seed(seed)) for seed in range(40)])
    share = drawn.flatten(2).norm(dim=2) / e.flatten(1).norm(dim=1)
    assert 0.8 <= share.min() < 0.83 and 1.17 < share.max() <= 1.2
    assert torch.nn.functional.cosine_similarity(drawn.flatten(2), e.flatten(1), dim=2).abs().max() < 0.1


def test_an_anchor_near_the_concept_is_rarer_by_1_minus_the_cosine():
    e = torch.zeros(40_000, 2)
    e[:, 0] = 3.0
    cosine = torch.nn.functional.cosine_similarity(anchors_of(e, torch.Generator().manual_seed(0)), e, dim=1)
    # uniform directions in the plane, kept with probability min(1, 1 − cos): E[cos] by the integral over the circle
    angle = torch.linspace(0, 2 * torch.pi, 100_001, dtype=torch.float64)[:-1]
    kept = (1 - angle.cos()).clamp(max=1)
    assert float(cosine.mean()) == pytest.approx(float((angle.cos() * kept).sum() / kept.sum()), abs=0.01)


def test_stronger_anchoring_keeps_what_anchors_say(tiny_sd1):
    def anchored(anchoring):
        method = replace(QUICK, iterations=15, anchoring=anchoring, lr=5e-3)
        edit = replace(method.fit(tiny_sd1, [FOX]), gate="always")
        rows = drawn_anchors(tiny_sd1.encode(["fox"] * 8), torch.Generator().manual_seed(9))
        latents = tiny_sd1.noise(range(8))
        with torch.no_grad():
            before = tiny_sd1.noise_prediction(latents, 500, rows)
            with tiny_sd1.edited(edit):
                return float((tiny_sd1.noise_prediction(latents, 500, rows) - before).square().mean())

    free, some, much = (anchored(one) for one in (0.0, 10.0, 1000.0))
    assert much < some < free


def test_training_brings_the_concept_to_its_target(tiny_sd1):
    method = replace(QUICK, iterations=60, anchoring=0.0)
    seen = seen_of(tiny_sd1, method, texts=("fox",), timesteps=(500,))
    latents = seen.latents.float()

    def distance(*edits):
        with tiny_sd1.edited(*edits), torch.no_grad():
            got = tiny_sd1.noise_prediction(latents, 500, tiny_sd1.encode("fox"))
        return float((got - seen.target).square().mean())

    assert distance(replace(method.fit(tiny_sd1, [FOX]), gate="always")) < 0.7 * distance()


@pytest.mark.parametrize("sampler", ["frozen", "student"])
@pytest.mark.parametrize("to_anchor", [False, True])
def test_targets_are_by_equation_2_what_the_model_says_at_each_latent(tiny_sd1, sampler, to_anchor):
    method = replace(QUICK, to_anchor=to_anchor, negative_guidance=0.7)
    generator = torch.Generator().manual_seed(1)
    if sampler == "frozen":
        view = method._frozen(tiny_sd1, FOX, 3, SILENT)
        seen = view.drawn(5, generator, first=1)
        assert set(seen.timesteps.tolist()) <= set(view.timesteps[1:])
    else:
        seen = method.online(tiny_sd1, tiny_sd1, FOX, generator)
    with torch.no_grad():
        for x, t, text, target in zip(*seen._replace(timesteps=seen.timesteps.tolist())[:4], strict=True):
            rows = [tiny_sd1.encode(text), tiny_sd1.encode("", role="uncond"), tiny_sd1.encode("cat")]
            cond, none, anchor = (tiny_sd1.noise_prediction(x[None], t, one) for one in rows)
            neutral = anchor if to_anchor else none
            torch.testing.assert_close(target[None], neutral - 0.7 * (cond - neutral), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_student_draws_latents_with_its_adapter_on(tiny_sd1, dynamic):
    method = SPM(steps=4, dynamic_resolution=dynamic, start_guidance=1.0)
    student = own_denoiser(tiny_sd1, lambda name: False)

    def online(size):
        with beside(student.module, adapter_of(tiny_sd1, method, size), lambda: method._scaled):
            return method.online(tiny_sd1, student, FOX, torch.Generator().manual_seed(1))

    fresh_one, trained = online(0.0), online(0.5)
    assert torch.equal(fresh_one.timesteps, trained.timesteps) and not torch.allclose(
        fresh_one.latents, trained.latents
    )
    side = tiny_sd1.noise([0]).shape[-1]
    assert (set(trained.latents.shape[-2:]) <= set(sizes(tiny_sd1))) == dynamic
    assert sizes(tiny_sd1) == [side // 2, side * 5 // 8, side * 3 // 4, side * 7 // 8]


def test_an_adapter_of_several_is_the_one_that_is_fitted_alone(tiny_sd1):
    method = replace(QUICK, prompts="all")
    both = method.fit(tiny_sd1, [FOX, CAT])
    alone = combined([method.fit(tiny_sd1, [one]) for one in (FOX, CAT)])
    assert both.targets == (("fox", "red dog"), ("cat",)) and both.concepts == ("fox", "cat")
    assert both.tensors.keys() == alone.tensors.keys()
    assert all(torch.equal(one, alone.tensors[key]) for key, one in both.tensors.items())


def test_the_student_is_trained_on_architectures_with_pooled_text_too(tiny_sdxl):
    edit = replace(QUICK, sampler="student").fit(tiny_sdxl, [FOX])
    assert all(edit.tensors[key].any() for key in edit.tensors)
    around = tiny_sdxl.encode(["fox"])
    drawn = drawn_anchors(around, torch.Generator().manual_seed(0))
    assert 0.8 <= float(drawn.pooled.norm() / around.pooled.norm()) <= 1.2


def test_settings_that_cannot_be_are_refused_in_words(tiny_sd1):
    for told, words in [
        ({"rank": 0}, "rank is 0"),
        ({"steps": 1}, "steps is 1"),
        ({"anchors": 3, "official_anchors": True}, "Half of 3"),
        ({"dynamic_resolution": True, "sampler": "frozen"}, "one size"),
    ]:
        with pytest.raises(WorkbenchError, match=words):
            SPM(**told)
    with pytest.raises(WorkbenchError, match="'fox' has no anchor"):
        SPM(to_anchor=True).fit(tiny_sd1, [Concept("fox")])
