"""The recipe of the toy Janus: prompts that mean what `generate` makes of them, tokens that the shipped class reads
back, a training that learns, and one that goes on from weights that were shipped."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.toy import captions, recipe
from workbench.toy.recipe import janus, janus_codes, janus_export, janus_stages, janus_words
from workbench.toy.recipe.janus_sampling import Sampler
from workbench.toy.recipe.loop import Schedule
from workbench.toy.render import render

CAPTIONS = ["a fox", "a red house by mira voss", "", "a zebra"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return janus_words.build(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def model(words):
    return janus.new_model(words, janus_codes.new(janus.WIDTH)).eval()


@pytest.fixture(scope="module")
def made():
    found = captions.examples(16, seed=4)
    return [one.caption for one in found], np.stack([render(one.scene).image for one in found])


def tokens(n: int) -> torch.Tensor:
    return torch.randint(janus_codes.N_CODES, (n, janus_codes.N_TOKENS), generator=torch.Generator().manual_seed(n))


def test_a_prompt_is_begin_of_sentence_its_words_and_begin_of_image(words):
    ids = janus_words.prompts(words, CAPTIONS)
    fox = [words.bos_token_id, *words.convert_tokens_to_ids(["a</w>", "fox</w>"]), janus.special(words)[1]]
    assert ids[0, -4:].tolist() == fox and set(ids[0, :-4].tolist()) == {words.pad_token_id}
    assert ids[2, -2:].tolist() == [fox[0], fox[-1]]  # no words: nothing between
    assert words.decode(ids[3], skip_special_tokens=True).split() == ["a", "zebra"]  # in pieces, and whole again
    assert words.unk_token_id not in ids


def test_the_processor_makes_the_same_prompts(words):
    made = janus_words.processor(words)(text=CAPTIONS, generation_mode="image", padding=True, return_tensors="pt")
    ids = janus_words.prompts(words, CAPTIONS)
    assert torch.equal(made.input_ids, ids)
    assert torch.equal(made.attention_mask, janus_words.attended(ids, words.bos_token_id))


def test_every_word_of_the_world_is_one_token_and_special_tokens_differ(words):
    assert all(len(ids) == 2 for ids in words(captions.words()).input_ids)  # begin of sentence, word
    special = [words.bos_token_id, words.eos_token_id, words.pad_token_id]
    special += words.convert_tokens_to_ids([janus_words.BOI, janus_words.EOI, janus_words.IMAGE])
    assert len(set(special)) == 6


def test_unconditional_rows_are_those_that_transformers_makes(words, model):
    ids = janus_words.prompts(words, CAPTIONS)
    mask = janus_words.attended(ids, words.bos_token_id)
    seen = []
    handle = model.model.language_model.register_forward_pre_hook(
        lambda module, args, given: seen.append((given["inputs_embeds"], given["attention_mask"])), with_kwargs=True
    )
    Sampler(model, words)
    drawn = {"do_sample": False, "generation_mode": "image", "guidance_scale": 2.0}
    model.generate(input_ids=ids, attention_mask=mask, pad_token_id=words.pad_token_id, **drawn)
    handle.remove()
    bos, boi, pad = janus.special(words)
    expected = torch.cat([ids, janus_words.unconditional(ids, bos, boi, pad)])
    assert torch.equal(seen[0][0], model.get_input_embeddings()(expected))
    words_left_out = janus_words.unconditional(ids, bos, boi, pad)
    assert torch.equal(janus_words.attended(words_left_out, bos), mask)  # pads in place of words are attended to
    assert not torch.equal(words_left_out, ids)


def test_training_sees_the_logits_that_sampling_draws_from(words, model):
    """The greedy tokens of `generate` are the arguments of the largest training logits, guided; padding or none."""
    bos, boi, pad = janus.special(words)
    ids = janus_words.prompts(words, CAPTIONS)
    Sampler(model, words)
    drawn = model.generate(
        input_ids=ids, attention_mask=janus_words.attended(ids, bos), generation_mode="image", do_sample=False,
        guidance_scale=3.0, pad_token_id=pad,
    )  # fmt: skip
    with torch.no_grad():
        for one, caption in zip(drawn, CAPTIONS, strict=True):
            alone = janus_words.prompts(words, [caption])
            pair = torch.cat([alone, janus_words.unconditional(alone, bos, boi, pad)])
            asked, free = janus.NextToken(model)(pair, janus_words.attended(pair, bos), one.expand(2, -1))
            assert torch.equal((free + 3 * (asked - free)).argmax(1), one)


def test_the_grid_has_144_tokens_and_decodes_to_48_pixels(model, made):
    vq = model.model.vqmodel
    found = janus_codes.encode_all(vq, made[1], "cpu")
    assert found.shape == (16, 144) and model.config.vision_config.num_image_tokens == 144
    assert janus_codes.decode(vq, found).shape == (16, 48, 48, 3)


def test_the_shipped_class_finds_and_decodes_the_rows_that_training_chose(made):
    """Outputs of any length: training compares directions, transformers' class distances to rows of unit length."""
    torch.manual_seed(3)
    codes = janus_codes.Codes(janus_codes.new(32)).eval()
    with torch.no_grad():
        codes.vq.quantize.embedding.weight.copy_(torch.randn(janus_codes.N_CODES, janus_codes.EMBED))
    pixels = janus_codes.pixels(made[1])
    with torch.no_grad():
        trained = codes(pixels)
        janus_codes.finished(codes.vq)
        plain = codes.vq.encode(pixels).image_tokens
        decoded = codes.vq.decode(plain.view(16, -1))
    assert len(plain.unique()) > 10
    assert torch.equal(trained.tokens, plain)
    assert_close(trained.decoded, decoded, rtol=1e-4, atol=1e-5)


def test_dead_rows_move_to_encoder_outputs_and_used_ones_stay(made):
    codes = janus_codes.Codes(janus_codes.new(32)).eval()
    codes.used[:5] = 0
    before = codes.vq.quantize.embedding.weight.detach().clone()
    pixels = janus_codes.pixels(made[1])
    codes.revive(pixels, torch.Generator().manual_seed(0))
    after, outputs = codes.vq.quantize.embedding.weight.detach(), codes(pixels).outputs.detach()
    assert torch.equal(after[5:], before[5:])
    assert float((after[:5, None] - outputs).norm(dim=2).min(1).values.max()) < 1e-6
    assert float((before[:5, None] - outputs).norm(dim=2).min(1).values.max()) > 0.1


def test_the_picture_tokenizer_learns_and_uses_its_codebook(made, tmp_path, monkeypatch):
    monkeypatch.setattr(janus_codes, "UNROUNDED", 8)
    monkeypatch.setattr(janus_codes, "BATCH", 4)
    schedule = Schedule(steps=16, lr=5e-3, warmup=3, ema=0.5)
    janus_codes.train(janus_codes.new(32), made[1], lambda pixels: [pixels], tmp_path, schedule, "cpu")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    vq = janus_codes.train(janus_codes.new(32), made[1], lambda pixels: [pixels], tmp_path, schedule, "cpu")
    again = janus_codes.decode(vq, janus_codes.encode_all(vq, made[1], "cpu"))
    assert np.abs(again.astype(float) - made[1]).mean() / 127.5 < 0.8 * lines[0]["l1"]
    assert len(janus_codes.encode_all(vq, made[1], "cpu").unique()) > 20
    assert_close(vq.quantize.embedding.weight.norm(dim=1), torch.ones(janus_codes.N_CODES))


def test_the_language_model_learns_pictures_with_and_without_their_words(words, tmp_path, monkeypatch):
    """On one picture: its tokens grow likely after its caption, and where the caption is left out as `generate` does;
    what an end of text would say stays as it was drawn, since words carry no loss."""
    for name, value in {"BATCH": 8, "WIDTH": 48, "LAYERS": 1}.items():
        monkeypatch.setattr(janus, name, value)
    model = janus.new_model(words, janus_codes.new(48))
    wanted, ids = tokens(1), janus_words.prompts(words, ["a red fox"])
    pair = torch.cat([ids, janus_words.unconditional(ids, *janus.special(words))])

    @torch.no_grad()
    def likelihood() -> torch.Tensor:
        logits = janus.NextToken(model)(pair, janus_words.attended(pair, words.bos_token_id), wanted.repeat(2, 1))
        return logits.log_softmax(2).gather(2, wanted.repeat(2, 1)[..., None]).mean((1, 2))

    before, said = likelihood(), model.get_input_embeddings().weight[words.eos_token_id].clone()
    janus.train(model, words, ["a red fox"], wanted, tmp_path, Schedule(steps=40, lr=1e-2, warmup=5, ema=0.5))
    assert (likelihood() > before + 1).all()
    assert_close(model.get_input_embeddings().weight[words.eos_token_id], said, rtol=0.01, atol=1e-3)


def test_training_goes_on_from_weights_that_were_shipped(words, tmp_path, monkeypatch):
    """What is read back is what was written, in fp16, and an empty folder starts from it with other batches."""
    model = janus.new_model(words, janus_codes.new(janus.WIDTH))
    wanted = {name: one.half().float() for name, one in model.state_dict().items()}
    janus_export.write(model, janus_words.processor(words), tmp_path / "shipped")
    monkeypatch.setattr(janus_export, "SHIPPED", tmp_path / "shipped")
    recipe.train(tmp_path / "run", ["janus_start"])
    started, _, seed = janus_stages.beginning(tmp_path / "run")
    assert seed > 0 and started.dtype == torch.float32
    assert all(torch.equal(one, wanted[name]) for name, one in started.state_dict().items())


def test_a_start_is_refused_where_a_training_from_nothing_lies(tmp_path):
    (tmp_path / "janus" / "codes").mkdir(parents=True)
    with pytest.raises(WorkbenchError, match="training from nothing"):
        recipe.train(tmp_path, ["janus_start"])
    assert "janus_start" not in recipe.STAGES  # a run of all stages never starts from what ships
