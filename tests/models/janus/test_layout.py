"""Rows of prompts, with the chat template and without: what stands where, and what is refused."""

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import JanusImageProcessor, JanusProcessor, PreTrainedTokenizerFast

from saes.errors import WorkbenchError
from tests.tiny_janus import BOI, BOS, PAD, SPECIAL, TEMPLATE, tokenizer
from workbench.hooks import Place
from workbench.models.janus.layout import Layout, Special
from workbench.models.prompts import TokenIds

BEGIN, TEMPLATED, WORD, END, PADDING, ABSENT = (
    Place.BEGIN, Place.TEMPLATE, Place.WORD, Place.END, Place.PADDING, Place.ABSENT,
)  # fmt: skip


def layout(template=None):
    return Layout(tokenizer(template), Special(BOS, PAD, BOI), 40)


def spelt(row):
    return tokenizer().convert_ids_to_tokens(row)


def test_without_a_template_a_prompt_is_its_words():
    assert spelt(layout().row("a fox")) == ["<bos>", "a", "fox", "<begin_of_image>"]
    assert spelt(layout().row("")) == ["<bos>", "<begin_of_image>"]


def test_a_template_stands_around_the_words():
    wanted = ["<bos>", "<|User|>", ":", "a", "fox", "<|Assistant|>", ":", "<begin_of_image>"]
    assert spelt(layout(TEMPLATE).row("a fox")) == wanted


def test_rows_are_those_of_the_published_processor():
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer()._tokenizer, pad_token="<pad>", bos_token="<bos>", padding_side="left",
        extra_special_tokens={"boi_token": SPECIAL[4], "eoi_token": SPECIAL[5], "image_token": SPECIAL[6]},
    )  # fmt: skip
    words.chat_template = TEMPLATE
    begins = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    words._tokenizer.post_processor = begins  # as Llama's tokenizers do
    processor = JanusProcessor(JanusImageProcessor(), words, chat_template=TEMPLATE)
    prompts = ["a red fox", "fox"]
    framed = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "text", "text": prompt}]}], add_generation_prompt=True
        )
        for prompt in prompts
    ]
    theirs = processor(text=framed, generation_mode="image", padding=True, return_tensors="pt")
    ours = Layout(words, Special(BOS, PAD, BOI), 40)
    assert torch.equal(theirs.input_ids, ours.ids(prompts))
    assert torch.equal(theirs.attention_mask.bool(), ours.attended(ours.ids(prompts)))


@pytest.mark.parametrize("template", ["<bos>{{ messages[0]['content'][0]['text'] }}", "x {{ 'y' }}"])
def test_there_is_one_begin_token_whatever_the_template_says(template):
    row = layout(template).row("a fox")
    assert row.count(BOS) == 1 and row[0] == BOS and row[-1] == BOI


def test_every_position_knows_what_it_is():
    known = layout(TEMPLATE)
    ids = known.ids(["a red fox", "fox"])
    tokens = known.tokens(ids, "cond")
    assert tokens.places.tolist() == [
        [BEGIN, TEMPLATED, TEMPLATED, WORD, WORD, WORD, TEMPLATED, TEMPLATED, END],
        [ABSENT, ABSENT, BEGIN, TEMPLATED, TEMPLATED, WORD, TEMPLATED, TEMPLATED, END],
    ]
    assert tokens.position.tolist() == [[*range(9)], [-1, -1, *range(7)]]
    assert torch.equal(tokens.ids, ids)


def test_the_unconditional_row_keeps_begin_tokens_and_attends_to_padding():
    known = layout(TEMPLATE)
    ids = known.ids(["a red fox", "fox"])
    tokens = known.tokens(ids, "uncond")
    assert tokens.ids.tolist() == [[BOS, *[PAD] * 7, BOI], [PAD, PAD, BOS, *[PAD] * 5, BOI]]
    assert tokens.places[1].tolist() == [ABSENT, ABSENT, BEGIN, *[PADDING] * 5, END]
    assert known.attended(ids)[1].tolist() == [False, False, *[True] * 7]


def test_words_come_back_from_ids():
    known = layout(TEMPLATE)
    ids = known.ids(["a red fox", "fox"])
    assert [tokenizer().decode(known.words(row)) for row in ids] == ["a red fox", "fox"]


def test_a_prompt_that_leaves_no_room_is_refused():
    with pytest.raises(WorkbenchError, match="A prompt of 41 tokens leaves no room"):
        layout().ids(["a fox", "a " * 39])
    assert layout().ids(["a " * 38]).shape == (1, 40)


def test_ids_that_are_padded_behind_are_refused(tiny_janus):
    ids = tiny_janus.token_ids(["a fox", "a red fox"]).ids[0]
    with pytest.raises(WorkbenchError, match="do not end with the begin-of-image token"):
        tiny_janus.generate(TokenIds((ids.roll(-1, dims=1),)), 1)
    with pytest.raises(WorkbenchError, match="has the ids 0 to"):
        tiny_janus.encode(TokenIds((ids + 500,)))
