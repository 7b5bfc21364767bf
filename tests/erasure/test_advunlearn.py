"""AdvUnlearn in float64: its losses by direct calls of the two networks, whole fits against a loop written by hand, and
what its parameters, searches and edits promise."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import CLIPTextModel

from saes.errors import WorkbenchError
from tests.killing import kill_and_go_on
from tests.tiny_pipelines import clip, save_tiny
from workbench.concepts import Concept
from workbench.edits import transferred
from workbench.erasure import advunlearn
from workbench.erasure.advunlearn import AdvUnlearn, Lesson, away, kept_prompts, retention, rounds
from workbench.fitting.checkpoints import resumable
from workbench.fitting.copies import denoiser_parameters, parameters_of
from workbench.fitting.players import generator_of
from workbench.fitting.rollouts import Answered, remembered
from workbench.models import load
from workbench.testing.state import Watch, state_of

FOX = Concept("fox", retain=["dog", "bear", "cat"], templates=["a photo of a {}", "{}"])
KEPT = ["a photo of a dog", "dog", "a photo of a bear", "bear", "a photo of a cat", "cat"]
SMALL = AdvUnlearn(
    rollouts="remembered", trajectories=2, steps=3, iterations=4, warmup=1, attack_steps=2, retain_batch=2, lr=1e-3,
    attack_lr=0.05,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """In float64, its prompt maps enlarged: random weights hardly read the prompt."""
    loaded = load(save_tiny("sd1", tmp_path_factory.mktemp("double") / "sd1"), device="cpu")
    loaded.pipe.to(torch.float64)
    with torch.no_grad():
        for weight in loaded.prompt_maps().values():
            weight.mul_(10)
    return loaded


def encoded(pipe, text, prefix=None, encoder=None):
    """Hidden states by the text encoder alone, from embeddings that are put together here."""
    encoder = encoder or pipe.text_encoder
    ids = pipe.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    if prefix is None:
        return encoder(ids)[0]
    table = dict(encoder.named_modules())["embeddings.token_embedding"].weight
    rows = torch.cat([table[ids[:, :1]], prefix[None], table[ids[:, 1 : ids.shape[1] - len(prefix)]]], dim=1)
    position = encoder.embeddings.position_embedding.weight[: rows.shape[1]]
    hidden, n = rows + position, rows.shape[1]
    mask = torch.full((n, n), -torch.inf, dtype=rows.dtype).triu(1)[None, None]
    for layer in encoder.encoder.layers:
        out = layer(hidden, attention_mask=mask)
        hidden = out[0] if isinstance(out, tuple) else out
    return encoder.final_layer_norm(hidden)


def denoised(pipe, x, times, hidden):
    return pipe.unet(x, times, encoder_hidden_states=hidden.expand(len(x), -1, -1)).sample


def lesson_of(model, method, texts=("fox",), seen=None):
    rollouts = Fixed(seen) if seen else remembered(model, list(texts), 2, steps=3, guidance_scale=3.0, seed=0)
    return Lesson(method.pair(model), rollouts, list(texts))


class Fixed:
    """The same latents each time."""

    def __init__(self, seen):
        self.seen = seen

    def at(self, prompts, generator, *, uncond=False):
        return self.seen


def seen_of(model, text="fox", n=2):
    x = torch.randn(n, 4, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    times = torch.tensor([600, 200])[:n]
    with torch.no_grad():
        cond, uncond = (denoised(model.pipe, x, times, encoded(model.pipe, one)) for one in (text, ""))
    return Answered(x, times, cond, uncond)


def moved(student, names, size=0.05):
    generator = torch.Generator().manual_seed(5)
    for name in names:
        one = student.parameter(name)
        one.data += size * torch.randn(one.shape, generator=generator, dtype=one.dtype)


def test_the_target_without_guidance_is_the_empty_prompts_answer_and_the_concepts_at_minus_one():
    cond, uncond = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(away(cond, uncond, 0.0), uncond)
    assert_close(away(cond, uncond, -1.0), cond)
    assert_close(away(cond, uncond, 0.7), 1.7 * uncond - 0.7 * cond)


def test_the_erasing_loss_is_the_gap_to_the_target_under_the_prefix_that_was_found(model):
    """By the encoder's own layers, from embeddings put together here."""
    method = replace(SMALL, negative_guidance=0.7, warmup=0, batch=2, attack_tokens=2)
    lesson = lesson_of(model, method, seen=seen_of(model))
    moved(lesson.pair.student, lesson.pair.trained)
    loss = method.erasure(lesson, 0, torch.Generator().manual_seed(3))
    seen, own = lesson.rollouts.seen, lesson.pair.student.pipe.text_encoder
    y = 1.7 * seen.uncond - 0.7 * seen.cond
    answer = denoised(model.pipe, seen.latents, seen.timesteps, encoded(model.pipe, "fox", lesson.prefix, own))
    assert_close(loss, (answer - y).square().mean(), rtol=1e-9, atol=1e-12)
    plain = denoised(model.pipe, seen.latents, seen.timesteps, encoded(model.pipe, "fox", None, own))
    assert abs(float((plain - y).square().mean() - loss)) > 1e-6, "the prefix matters"


def test_before_anything_is_learnt_nothing_is_lost_of_what_is_kept_and_nothing_pulls_at_it(model):
    pair = SMALL.pair(model)
    held = remembered(pair.teacher, KEPT, 6, steps=3, guidance_scale=3.0, seed=1)
    for one in pair.trained.values():
        one.requires_grad_(True)

    def asked():
        loss = retention(pair, held, KEPT[:3], torch.Generator().manual_seed(0))
        return float(loss.detach()), torch.autograd.grad(loss, list(pair.trained.values()))

    loss, found = asked()
    assert loss < 1e-24 and max(float(one.abs().max()) for one in found) < 1e-10
    moved(pair.student, pair.trained)
    loss, found = asked()
    assert loss > 1e-6 and max(float(one.abs().max()) for one in found) > 1e-5


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_student_that_has_learnt_nothing_loses_exactly_nothing(tiny_sd1, precision):
    """Beside a model in half precision too: teacher and student encode and predict alike."""
    half = load(tiny_sd1.name, device="cpu", dtype=precision)
    method = replace(SMALL, rollouts="fresh")
    pair = method.pair(half)
    source = method._rollouts(pair, KEPT, "what is kept", 0, Watch())
    with torch.no_grad():
        assert float(retention(pair, source, KEPT[:3], torch.Generator().manual_seed(0))) < 1e-12
    text = pair.student.encode("fox").embeddings
    assert torch.equal(text, pair.teacher.encode("fox").embeddings) and text.dtype == torch.float32


@pytest.mark.parametrize("attack", ["pgd", "fast"])
def test_a_search_brings_the_students_answer_nearer_to_the_frozen_ones_and_moves_nothing_else(model, attack):
    seen = seen_of(model)
    method = replace(SMALL, attack=attack, attack_steps=30, attack_lr=0.05 if attack == "pgd" else 1e-3)
    lesson = lesson_of(model, method, seen=seen)
    moved(lesson.pair.student, lesson.pair.trained, 0.1)
    before, weights = state_of(model), [one.clone() for one in lesson.pair.trained.values()]
    starts = []
    draw = advunlearn.random_prefix
    with patch.object(advunlearn, "random_prefix", lambda *given: starts.append(draw(*given)) or starts[-1]):
        found = method.searched(lesson, torch.Generator().manual_seed(1))

    def distance(prefix):
        hidden = encoded(model.pipe, "fox", prefix, lesson.pair.student.pipe.text_encoder)
        with torch.no_grad():
            return float((denoised(model.pipe, seen.latents, seen.timesteps, hidden) - seen.cond).square().mean())

    assert distance(found) < distance(starts[0])
    if attack == "fast":
        assert_close((found - starts[0]).abs(), torch.full_like(found, 1e-3), rtol=1e-6, atol=0.0)
    assert state_of(model) == before
    assert all(torch.equal(one, was) for one, was in zip(lesson.pair.trained.values(), weights, strict=True))
    assert all(one.grad is None and not one.requires_grad for one in lesson.pair.trained.values())
    assert all(one.grad is None for one in model.pipe.unet.parameters())


def by_hand(model, method, seed):
    """The fit, with torch's optimisers, direct calls of the networks, and the same draws in the same order."""
    texts, own = ["fox"], CLIPTextModel(model.pipe.text_encoder.config).double()
    own.load_state_dict(model.pipe.text_encoder.state_dict())
    views = [remembered(model, some, method.trajectories, steps=method.steps, guidance_scale=3.0, seed=one)
             for some, one in ((texts, seed), (KEPT, seed + 1))]  # fmt: skip
    weights = [one for name, one in own.named_parameters() if ".layers." in name or "final_layer_norm" in name]
    optimiser = torch.optim.Adam(weights, lr=method.lr)
    extra = method.retain_steps if method.retain == "iter" else 0
    order = rounds(6, 2, method.iterations * max(1, extra), torch.Generator().manual_seed(seed))

    def predicted(seen, text, prefix=None):
        return denoised(model.pipe, seen.latents, seen.timesteps, encoded(model.pipe, text, prefix, own))

    def kept(generator):
        prompts = [KEPT[i] for i in order.pop(0)]
        seen = views[1].at(prompts, generator)
        hidden = torch.cat([encoded(model.pipe, prompt, None, own) for prompt in prompts])
        return (denoised(model.pipe, seen.latents, seen.timesteps, hidden) - seen.cond).square().mean()

    step = 0
    for turn in range(method.iterations):
        generator, prefix = generator_of(seed, step), None
        torch.randint(1, (), generator=generator)  # the text
        if turn >= method.warmup:
            prefix = advunlearn.random_prefix(model, 1, generator).requires_grad_()
            search = torch.optim.Adam([prefix], lr=method.attack_lr)
            for _ in range(method.attack_steps):
                seen = views[0].at(texts, generator)
                (prefix.grad,) = torch.autograd.grad(
                    (predicted(seen, "fox", prefix) - seen.cond).square().mean(), prefix
                )
                search.step()
            prefix = prefix.detach()
        seen = views[0].at(texts, generator, uncond=True)
        target = seen.uncond - method.negative_guidance * (seen.cond - seen.uncond)
        loss = (predicted(seen, "fox", prefix) - target).square().mean()
        if method.retain == "reg":
            loss = loss + method.retain_weight * kept(generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        for _ in range(extra):
            optimiser.zero_grad()
            kept(generator_of(seed, step)).backward()
            optimiser.step()
            step += 1
    return own


@pytest.mark.parametrize("how", [{}, {"retain": "iter", "retain_steps": 2}, {"retain": "off"}], ids=str)
def test_a_fit_is_the_loop_written_by_hand(model, how):
    method = replace(SMALL, negative_guidance=0.7, **how)
    edit = method.fit(model, [FOX], seed=4)
    own = dict(by_hand(model, method, 4).named_parameters())
    names = {name: name.removeprefix("text_encoder.") for name in edit.names}
    for name, alone in names.items():
        assert_close(edit.delta(name), (own[alone] - model.parameter(name)).detach(), rtol=1e-4, atol=1e-9)
    largest = max(float(edit.delta(name).abs().max()) for name in names)
    assert method.lr < largest < 3 * method.plan.steps * method.lr


def test_every_layer_and_the_last_norm_change_and_no_table_nor_the_denoiser(model):
    before = state_of(model)
    edit = SMALL.fit(model, [FOX])
    assert state_of(model) == before
    inside = {name for name in parameters_of(model, "text_encoder") if "embedding" not in name}
    assert set(edit.names) == inside and all(edit.delta(name).any() for name in inside)
    assert {name.split(".")[1] for name in edit.names} == {"encoder", "final_layer_norm"}


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """A model whose text encoder has as many layers as CLIP-L."""
    folder = save_tiny("sd1", tmp_path_factory.mktemp("twelve") / "sd1")
    loaded = load(folder, device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        loaded.pipe.text_encoder = clip(loaded.pipe.tokenizer, layers=12)
    loaded.pipe.save_pretrained(folder, safe_serialization=True)
    return load(folder, device="cpu")


def test_layers_are_chosen_by_their_number_and_not_by_how_it_begins(twelve):
    def layers(**how):
        return {name.split(".layers.")[-1].split(".")[0] for name in AdvUnlearn(**how).encoder_names(twelve)}

    assert layers(layers=(0, 1)) == {"0", "1"} and layers(layers=(11,)) == {"11"}
    assert len(layers()) == 12 + 1, "all, and the last norm"
    edit = replace(SMALL, layers=(0, 1), iterations=2).fit(twelve, [FOX])
    assert {name.split(".layers.")[1].split(".")[0] for name in edit.names} == {"0", "1"}
    for wrong in ((0, 12), (-1,)):
        with pytest.raises(WorkbenchError, match=r"no layer (12|-1).*0 to 11"):
            AdvUnlearn(layers=wrong).fit(twelve, [FOX])


@pytest.mark.parametrize(("component", "part"), [("ffn", ".mlp."), ("attn", ".self_attn.")])
def test_a_component_is_that_of_every_layer_and_no_norm(twelve, component, part):
    names = AdvUnlearn(component=component).encoder_names(twelve)
    assert all(part in name for name in names) and "norm" not in "".join(names)
    assert len({name.split(".layers.")[1].split(".")[0] for name in names}) == 12
    few = AdvUnlearn(component=component, layers=(3,)).encoder_names(twelve)
    assert few == [name for name in names if ".layers.3." in name]


@pytest.mark.parametrize("rollouts", ["fresh", "remembered"])
def test_the_denoiser_can_be_trained_in_the_place_of_the_text_encoder(model, rollouts):
    edit = replace(SMALL, train="esd-x", rollouts=rollouts, iterations=2).fit(model, [FOX])
    assert set(edit.names) == {name for name in denoiser_parameters(model) if ".attn2." in name}
    assert all(edit.delta(name).abs().max() > 1e-6 for name in edit.names)


def calls(method, model, concepts=(FOX,), seed=0):
    """The starts of all searches of a fit, what they found, and for which text."""
    found, real = [], AdvUnlearn.searched

    def watched(self, lesson, generator):
        before = lesson.prefix
        prefix = real(self, lesson, generator)
        found.append((lesson.text, before, prefix))
        return prefix

    with patch.object(AdvUnlearn, "searched", watched):
        method.fit(model, concepts, seed=seed)
    return found


def test_nothing_is_searched_for_during_warm_up_and_then_as_often_as_is_said(tiny_sd1):
    cheap = replace(SMALL, attack_steps=1, retain="off")
    assert not calls(replace(cheap, iterations=3, warmup=3), tiny_sd1)
    assert len(calls(replace(cheap, iterations=4, warmup=2), tiny_sd1)) == 2
    assert len(calls(replace(cheap, iterations=7, warmup=1, attack_every=3), tiny_sd1)) == 2  # in turns 3 and 6
    texts = [text for text, *_ in calls(replace(cheap, iterations=8, warmup=0, prompts="templates"), tiny_sd1)]
    assert set(texts) == {"fox", "a photo of a fox"}


def test_a_search_starts_from_the_last_prefix_if_it_is_told_to(tiny_sd1):
    """A rate so small that where it starts is where it ends."""
    how = replace(SMALL, iterations=3, warmup=0, attack_steps=1, attack_lr=1e-12, retain="off")
    random = [prefix for *_, prefix in calls(how, tiny_sd1)]
    latest = [prefix for *_, prefix in calls(replace(how, attack_start="latest"), tiny_sd1)]
    assert len({float(one.sum()) for one in random}) > 1
    assert all(torch.allclose(one, latest[0], atol=1e-9) for one in latest)
    assert torch.equal(latest[0], random[0])


def test_kept_prompts_come_once_each_before_any_comes_again():
    order = rounds(7, 3, 5, torch.Generator().manual_seed(0))
    assert [len(part) for part in order] == [3] * 5
    for start in (0, 2):
        both = order[start] + order[start + 1]
        assert len(set(both)) == 6
    assert rounds(2, 5, 3, torch.Generator().manual_seed(0))[1] in ([0, 1], [1, 0])


def test_what_is_erased_is_not_kept_and_what_is_kept_is_not_erased():
    other = Concept("bear", retain=["dog", "fox"], captions=["a fox by a dog", "a red cat"], templates=["{}"])
    assert kept_prompts([FOX, other]) == ["a photo of a dog", "dog", "a photo of a cat", "cat", "a red cat"]
    with pytest.raises(WorkbenchError, match="to be erased too"):
        kept_prompts([Concept("fox", retain=["cat"]), Concept("cat", retain=["fox"])])


def test_what_cannot_be_done_is_refused_before_any_work(tiny_sd1, tiny_sdxl):
    watch = Watch()
    for method, model, concept, words in [
        (AdvUnlearn(), tiny_sdxl, FOX, "sdxl"),
        (AdvUnlearn(), tiny_sd1, Concept("fox"), "retain or captions"),
        (AdvUnlearn(attack_tokens=11), tiny_sd1, FOX, "a prefix of 11 does not fit"),
        (AdvUnlearn(layers=(2,)), tiny_sd1, FOX, "no layer 2"),
    ]:
        with pytest.raises(WorkbenchError, match=words):
            method.fit(model, [concept], progress=watch)
    assert watch.items == 0
    for name in ("attack_tokens", "attack_steps", "attack_every", "retain_batch", "iterations", "batch", "steps"):
        with pytest.raises(WorkbenchError, match=f"{name} is 0"):
            AdvUnlearn(**{name: 0})


def test_the_trained_encoder_serves_another_model_that_has_the_same_one(tiny_sd1, tmp_path):
    """A descendant with another denoiser: its prompts are encoded as by the student, and nothing is trained again."""
    edit = replace(SMALL, lr=1e-2).fit(tiny_sd1, [FOX])
    folder = save_tiny("sd1", tmp_path / "descendant")
    other = load(folder, device="cpu")
    with torch.no_grad():
        for one in other.pipe.unet.parameters():
            one.mul_(1.1)
    other.pipe.save_pretrained(folder, safe_serialization=True)
    other = load(folder, device="cpu")
    with pytest.raises(WorkbenchError, match="another model"):
        edit.check(other)
    plain, moved_ = other.generate("a fox", [0], steps=2), transferred(edit, other)
    with tiny_sd1.edited(edit), other.edited(moved_):
        assert torch.equal(other.encode("a fox").embeddings, tiny_sd1.encode("a fox").embeddings)
        assert not np.array_equal(other.generate("a fox", [0], steps=2), plain)
    assert moved_.base_fingerprint == other.fingerprint
    assert moved_.settings["transferred_from"] == tiny_sd1.fingerprint


def test_a_killed_fit_that_carries_a_prefix_gives_the_edit_of_an_uninterrupted_one(tmp_path, tiny_sd1):
    method = replace(SMALL, iterations=10, warmup=0, attack_start="latest", attack_every=2)

    def work():
        with resumable(tmp_path, seconds=0.0) as here:
            return method.fit(tiny_sd1, [FOX], seed=1), here.regained

    edit, regained = kill_and_go_on(tmp_path, work)
    whole = method.fit(tiny_sd1, [FOX], seed=1)
    assert regained > 0
    assert all(torch.equal(edit.delta(name), whole.delta(name)) for name in whole.names)


def test_the_codes_search_is_another_one(tiny_sd1):
    edits = [replace(SMALL, official_attack=official).fit(tiny_sd1, [FOX]) for official in (False, True)]
    assert any(not torch.equal(edits[0].delta(name), edits[1].delta(name)) for name in edits[0].names)
