import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.edits.interventions import ablation
from workbench.fitting.embedding import MEMORIES, Memory, embed
from workbench.fitting.rows import end_of_text, ends_of_text, last_subject, same_tokens, subject_rows, subject_span
from workbench.models import Model

LONG = "a photo of " + "a " * 9 + "fox"


def test_the_last_subject_is_found_by_token_ids(tiny_sd1):
    assert last_subject(tiny_sd1, "a photo of a fox", "fox") == (5,)
    assert last_subject(tiny_sd1, "fox by a cat", "fox") == (1,)
    assert last_subject(tiny_sd1, "a zoo by a cat", "zoo") == (4,), "three letters are three tokens"
    assert subject_span(tiny_sd1, "a zoo by a cat", "zoo") == range(2, 5)
    assert last_subject(tiny_sd1, "", "") == (0,), "the begin token"


def test_the_end_is_the_first_end_token_also_behind_words_of_several_tokens(tiny_sd1):
    for prompt in ("a fox", "a zoo by a cat, red", ""):
        assert end_of_text(tiny_sd1, prompt) == (len(tiny_sd1.tokens(prompt)[0].ids) - 1,)
    assert end_of_text(tiny_sd1, LONG) == (11,)


def test_every_tokenizer_of_the_encoding_has_its_own_row(tiny_sdxl, tiny_sd3, tiny_flux):
    assert last_subject(tiny_sdxl, "a fox", "fox") == (2,)
    assert last_subject(tiny_sd3, "a fox", "fox") == (2, 12 + 1), "T5 has no begin token"
    assert last_subject(tiny_flux, "a fox", "fox") == (1,)


@pytest.mark.parametrize(
    ("prompt", "words", "problem"),
    [
        ("a cat", "fox", "is no word of the prompt"),
        ("a cat", " ", "is no word of the prompt"),
        (LONG, "fox", "the model reads 12"),
    ],
)
def test_words_without_a_row_are_refused(tiny_sd1, prompt, words, problem):
    with pytest.raises(WorkbenchError, match=problem):
        last_subject(tiny_sd1, prompt, words)


def test_pairs_run_from_the_subject_to_the_end_of_the_shorter_tail(tiny_sd1):
    rows, anchors = subject_rows(tiny_sd1, ["a fox", ""], ["fox", ""])
    own, blank = embed(tiny_sd1, ["a fox", ""])
    assert torch.equal(rows, own[2:]) and torch.equal(anchors, blank[:-2]), "the first pair is fox and the begin token"


def test_equal_forms_pair_position_by_position(tiny_sd1):
    rows, anchors = subject_rows(tiny_sd1, ["a photo of a fox", "a photo of a cat"], ["fox", "cat"])
    assert len(rows) == len(anchors) == 12 - 5


def test_rows_of_longer_words_are_paired_from_their_last_token_on(tiny_sd1):
    words = ["fox", "red dog", "cat"]
    fox, dog, cat = embed(tiny_sd1, words)
    last = subject_rows(tiny_sd1, words, words, "last", "embeddings")
    assert torch.equal(last, torch.stack([fox[1:2], dog[2:3], cat[1:2]]))
    all_ = subject_rows(tiny_sd1, words, words, "all", "embeddings")
    assert torch.equal(all_, torch.stack([fox[1:-1], dog[2:], cat[1:-1]]))


def test_rows_of_two_tokenizers_are_paired_apart(tiny_sd3):
    clip, t5 = tiny_sd3.architecture.segments()
    fox, dog = embed(tiny_sd3, ["fox", "red dog"])
    rows = subject_rows(tiny_sd3, ["fox", "red dog"], ["fox", "red dog"], "all", "embeddings")
    n = clip.length - 2
    assert torch.equal(rows[0, :n], fox[1 : 1 + n]) and torch.equal(rows[1, :n], dog[2 : 2 + n])
    assert torch.equal(rows[1, n], dog[t5.start + 1]) and torch.equal(rows[0, n], fox[t5.start])
    pooled = subject_rows(tiny_sd3, ["fox", "cat"], ["fox", "cat"], "all", "pooled")
    assert torch.equal(pooled[:, 0], embed(tiny_sd3, ["fox", "cat"], "pooled"))


def test_ends_of_text_are_at_the_first_end_token_though_words_fall_into_letters(tiny_sd1):
    """A zebra is five tokens: counting words would point inside of it; the pads have the end token's id too."""
    rows = ends_of_text(tiny_sd1, ["a photo of a zebra", "a fox"])
    embedded = embed(tiny_sd1, ["a photo of a zebra", "a fox"])
    assert torch.equal(rows[:, 0], torch.stack([embedded[0, 10], embedded[1, 3]]))
    assert len(set(tiny_sd1.pipe.tokenizer("a fox", padding="max_length").input_ids[3:])) == 1


def test_words_that_differ_in_case_alone_are_the_same_tokens(tiny_sd1):
    assert same_tokens(tiny_sd1, "Fox", "fox") and not same_tokens(tiny_sd1, "fox", "cat")


def test_a_prompt_is_encoded_once(tiny_sd1, monkeypatch):
    MEMORIES.pop(tiny_sd1, None)
    seen, encode = [], Model.encode
    monkeypatch.setattr(Model, "encode", lambda self, prompts: seen.extend(prompts) or encode(self, prompts))
    first = embed(tiny_sd1, ["a fox", "a cat", "a fox"])
    again = embed(tiny_sd1, ["a cat", "a dog"])
    assert seen == ["a fox", "a cat", "a dog"]
    assert torch.equal(first[1], again[0]) and torch.equal(first[0], first[2])


def test_an_edited_model_is_encoded_anew(tiny_sd1):
    edit = ablation(tiny_sd1, random_sae(tiny_sd1, "text.0"), range(0, 96, 3), strength=-1.0, concepts=("fox",))
    plain = embed(tiny_sd1, ["a fox"])
    with tiny_sd1.edited(edit):
        assert not torch.equal(embed(tiny_sd1, ["a fox"]), plain)
    assert torch.equal(embed(tiny_sd1, ["a fox"]), plain)


def test_memory_is_bounded():
    memory = Memory(limit=100)
    for number in range(5):
        memory.add(str(number), (torch.zeros(10), None))
    assert list(memory.rows) == ["3", "4"] and memory.bytes == 80
