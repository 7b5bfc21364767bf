"""EAR's equations in float64 against the language model called directly, and what its two contexts promise."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.tiny_janus import CELLS, PAD, TEMPLATE, save_tiny_janus
from workbench.concepts import Concept
from workbench.erasure.ear import EAR, LM, _Pictures, target, window_loss
from workbench.fitting.copies import own_language_model, parameters_of
from workbench.fitting.picture_streams import Streams, pair_rows
from workbench.fitting.prompt_pairs import PromptPair, write_pairs
from workbench.models import load

FOX = Concept("fox", anchor="cat", templates=["a photo of a {}", "a {}"])
PAIR = PromptPair("a photo of a fox", "a cat")
TINY = EAR(visits=2, window=5, layers=2, threshold=0.0, lr=1e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny_janus(tmp_path_factory.mktemp("janus") / "janus", template=TEMPLATE)
    return load(folder, device="cpu", dtype=torch.float64)


def pictures(method, model, pairs=(PAIR,), seed=0):
    return _Pictures(method, model, pairs, seed, SILENT)


def gradients(loss, student, method):
    trained = parameters_of(student, LM, method._wanted)
    for one in trained.values():
        one.requires_grad_(True)
    return dict(zip(trained, torch.autograd.grad(loss(), list(trained.values()), allow_unused=True), strict=True))


def of(gradients, part):
    return max(float(one.abs().max()) for name, one in gradients.items() if part in name and one is not None)


def direct(model, rows, tokens):
    """Hidden states of both rows over the prompt and all but the last token, by transformers alone."""
    drawn = model.pipe.whole.prepare_embeddings_for_image_generation(tokens[None, :-1]).expand(2, -1, -1)
    embeddings = torch.cat([rows.both.embeddings, drawn], dim=1)
    return model.pipe.language_model(inputs_embeds=embeddings).last_hidden_state


@pytest.mark.parametrize("eta", [0.0, 0.7, 2.0])
def test_the_first_loss_of_an_untrained_student_is_known_in_closed_form(model, eta):
    """(1 + η)² mean (Hᵖ − Hⁿ)²: at step 1 the streams n and t are equal."""
    method = replace(TINY, window=1, negative_guidance=eta)
    rows = pair_rows(model, PAIR.original, PAIR.modified, "chat")
    unsafe, safe = (model.pipe.language_model(inputs_embeds=one.both.embeddings).last_hidden_state for one in rows)
    got = pictures(method, model).loss(own_language_model(model, method._wanted), 0, 0)
    assert_close(got, (1 + eta) ** 2 * (unsafe - safe).square().mean(), rtol=1e-9, atol=0)


def test_windows_are_sums_of_the_steps_means_against_the_model_called_directly(model):
    """(1) to (3) written out on whole sequences, for a student of other weights."""
    method, student = replace(TINY, negative_guidance=0.7), own_language_model(model, TINY._wanted)
    for one in parameters_of(student, LM, method._wanted).values():
        one.data += 0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1), dtype=one.dtype)
    found = pictures(method, model)
    rows, (p, n, t) = found.rows[0], found.tokens[0]
    before = rows.positions
    y = direct(model, rows.safe, t) - 0.7 * (direct(model, rows.unsafe, p) - direct(model, rows.safe, n))
    squares = (direct(student, rows.unsafe, p) - y).square()
    steps = [squares[:, :before].mean(), *(squares[:, before + i].mean() for i in range(CELLS - 1))]
    for window in range(3):
        assert_close(found.loss(student, 0, window), sum(steps[5 * window : 5 * window + 5]), rtol=1e-9, atol=1e-12)


def test_a_window_has_the_gradients_of_its_steps_with_a_living_cache(model):
    """Token by token, the cache detached where the window begins."""
    method, student = TINY, own_language_model(model, TINY._wanted)
    found = pictures(method, model)
    rows, p, y = found.rows[0], found.tokens[0][0], found._target(0)
    first, last, before = 5, 10, found.rows[0].positions

    def stepwise():
        lm, cache = student.pipe.language_model, DynamicCache(config=student.pipe.language_model.config)
        drawn = student.pipe.whole.prepare_embeddings_for_image_generation(p[None, : last - 1]).expand(2, -1, -1)
        with torch.no_grad():
            lm(inputs_embeds=torch.cat([rows.unsafe.both.embeddings, drawn[:, : first - 1]], 1), cache=cache)
        loss = 0.0
        for step in range(first, last):
            seen = lm(inputs_embeds=drawn[:, step - 1 : step], cache=cache).last_hidden_state[:, 0]
            loss = loss + (seen - y[:, before + step - 1]).square().mean()
        return loss

    whole = gradients(lambda: found.loss(student, 0, 1), student, method)
    parts = gradients(stepwise, student, method)
    assert of(whole, "q_proj") > 1e-4 * of(whole, "v_proj") > 0
    for name, one in parts.items():
        assert_close(whole[name], one, rtol=1e-6, atol=1e-10)


def test_without_context_queries_and_keys_learn_nothing_after_the_prompt(model):
    method, student = replace(TINY, context="none"), own_language_model(model, TINY._wanted)
    found = pictures(method, model)
    later = gradients(lambda: found.loss(student, 0, 1), student, method)
    assert of(later, "v_proj") > 0 and of(later, "o_proj") > 0
    assert max(of(later, "q_proj"), of(later, "k_proj")) < 1e-6 * of(later, "v_proj")
    first = gradients(lambda: found.loss(student, 0, 0), student, method)
    assert of(first, "q_proj") > 1e-4 * of(first, "v_proj")


def test_without_context_a_step_knows_its_token_alone(model):
    """Rows are equal, guidance does nothing after the first token, and 𝓛 is the sum of single windows."""
    method, student = replace(TINY, context="none"), own_language_model(model, TINY._wanted)
    found = pictures(method, model)
    states = found.streams.states(model, found.rows[0].unsafe.both, found.tokens[0][:1], 1, CELLS)
    assert_close(states[0], states[1])
    token = found.tokens[0][0][:1]
    alone = model.pipe.language_model(
        inputs_embeds=model.pipe.whole.prepare_embeddings_for_image_generation(token[None])
    ).last_hidden_state
    assert_close(states[0, 0], alone[0, 0])
    single = pictures(replace(method, window=1), model)
    assert torch.equal(single.tokens[0], found.tokens[0])
    assert_close(found.loss(student, 0, 1), sum(single.loss(student, 0, step) for step in range(5, 10)))
    weak, strong = (Streams("none", scale).sampled(model, found.rows[:1], [1, 2, 3])[0] for scale in (1.0, 9.0))
    same = weak[:, 0] == strong[:, 0]
    assert same.any() and torch.equal(weak[same], strong[same])


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_pictures_with_context_are_those_of_the_model(model, scale):
    rows = pair_rows(model, "a photo of a fox", "a photo of a cat", "chat")
    got = Streams("cached", scale).sampled(model, [rows, rows], [1, 2, 3, 4, 5, 6])
    for place, prompt in enumerate(("a photo of a fox", "a photo of a cat", "a photo of a cat")):
        own = model.sample_codes(prompt, [place + 1, place + 4], guidance_scale=scale)
        assert torch.equal(got[:, place], own)


def test_prompts_of_a_pair_are_equally_long_and_laid_out_as_asked(model):
    layout, tokenizer = model.architecture.layout, model.pipe.tokenizer

    def spelt(rows):
        ids = [rows.cond.tokens.ids[0], rows.uncond.tokens.ids[0]]
        return [tokenizer.convert_ids_to_tokens(one.tolist()) for one in ids]

    chat = pair_rows(model, "a photo of a fox", "a cat", "chat")
    assert torch.equal(chat.unsafe.cond.tokens.ids[0], torch.tensor(layout.row("a photo of a fox")))
    words = spelt(chat.safe)[0]
    assert words.count("<pad>") == 3 and words[words.index("cat") + 1] == "<pad>" and words[-1] == "<begin_of_image>"
    raw = pair_rows(model, "a fox", "a photo of a cat", "raw")
    assert spelt(raw.unsafe)[0] == ["<bos>", "a", "fox"] and spelt(raw.safe)[0] == ["<bos>", "a", "photo"]
    kept = model.pipe.looked_up(torch.tensor([[1, PAD, tokenizer.convert_tokens_to_ids("fox")]]))
    assert_close(raw.unsafe.uncond.embeddings, kept)


def test_a_fit_trains_exactly_the_attention_of_the_first_layers_and_leaves_the_model(model):
    before = {name: one.clone() for name, one in model.pipe.language_model.named_parameters()}
    edit = TINY.fit(model, [FOX])
    maps = [f"{LM}.layers.{i}.self_attn.{part}_proj.weight" for i in (0, 1) for part in "qkvo"]
    assert sorted(edit.names) == sorted(maps) and all(edit.delta(name).abs().max() > 0 for name in maps)
    assert all(torch.equal(one, before[name]) for name, one in model.pipe.language_model.named_parameters())
    with model.edited(edit):
        changed = model.sample_codes("a photo of a fox", [1, 2, 3])
    assert not torch.equal(changed, model.sample_codes("a photo of a fox", [1, 2, 3]))


def test_a_fit_brings_the_states_nearer_to_the_target(model):
    method = replace(TINY, visits=30, lr=3e-3)
    edit = method.fit(model, [FOX], seed=1)
    pairs = method._pairs([FOX])
    fresh = pictures(replace(method, visits=2), model, pairs, seed=9)
    student = own_language_model(model, method._wanted)
    before = sum(float(fresh.loss(student, visit, window)) for visit in (0, 1) for window in range(3))
    with model.edited(edit):
        trained = own_language_model(model, method._wanted)
    after = sum(float(fresh.loss(trained, visit, window)) for visit in (0, 1) for window in range(3))
    assert after < 0.8 * before


def test_small_steps_are_kept_beside_a_model_in_half_precision(model):
    half = load(model.name, device="cpu", dtype=torch.float16)
    edit = replace(TINY, visits=1, lr=1e-6).fit(half, [FOX])
    moved = [edit.delta(name) for name in edit.names]
    assert {one.dtype for one in moved} == {torch.float32}
    assert all(0 < one.abs().max() < 1e-5 for one in moved)


def test_windows_at_or_below_the_threshold_are_skipped(model):
    """(4), strictly: a window of exactly μ does not step."""
    first = float(pictures(TINY, model, TINY._pairs([FOX])).loss(own_language_model(model, TINY._wanted), 0, 0))
    still = replace(TINY, visits=1, window=CELLS)
    whole = float(pictures(still, model, still._pairs([FOX])).loss(own_language_model(model, still._wanted), 0, 0))
    assert first < whole
    for threshold, moves in ((whole, False), (whole * (1 - 1e-6), True)):
        edit = replace(still, threshold=threshold).fit(model, [FOX])
        assert any(edit.delta(name).abs().max() > 0 for name in edit.names) == moves


def test_pairs_come_from_a_file_or_from_the_anchor(model, tmp_path):
    write_pairs([PromptPair("a fox", "a dog")], tmp_path / "pairs.csv")
    given = replace(TINY, pairs=str(tmp_path / "pairs.csv"))
    assert given._pairs([Concept("fox")]) == [PromptPair("a fox", "a dog")]
    assert [pair[:2] for pair in TINY._pairs([FOX])] == [("a photo of a fox", "a photo of a cat"), ("a fox", "a cat")]
    assert given.inputs() == (tmp_path / "pairs.csv",)


def test_what_cannot_be_trained_is_refused_before_any_work(model, tiny_sd1):
    for method, concept, said in (
        (TINY, Concept("fox"), "nothing takes the place of 'fox'"),
        (replace(TINY, window=CELLS + 1), FOX, "longer than a picture"),
        (replace(TINY, layers=9), FOX, "has 3 layers"),
    ):
        with pytest.raises(WorkbenchError, match=said):
            method.fit(model, [concept])
    with pytest.raises(WorkbenchError, match="no autoregressive"):
        TINY.fit(tiny_sd1, [FOX])


def test_target_and_loss_by_hand():
    one, two, three = (torch.full((2, 3, 1), value, dtype=torch.float64) for value in (1.0, 2.0, 5.0))
    assert_close(target(one, two, three, 2.0), torch.full((2, 3, 1), 7.0, dtype=torch.float64))
    seen = torch.tensor([[[1.0], [2.0], [4.0]]] * 2, dtype=torch.float64)
    assert float(window_loss(seen, torch.zeros_like(seen), 2)) == (1 + 4) / 2 + 16
    assert float(window_loss(seen, torch.zeros_like(seen), 0)) == 1 + 4 + 16
