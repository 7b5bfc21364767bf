"""Words and prompts of the toy Janus: the words of the toy, the special tokens of Janus, a prompt of nothing else.

A prompt is: begin of sentence, the words, begin of image. There is no chat around it. Prompts of a batch are padded on
the left and the padding is masked. Where transformers' `generate` guides, its unconditional rows are the same rows with
a pad in place of each word, and those pads are attended to; training leaves captions out in just that form.
"""

from pathlib import Path

from tokenizers import decoders, processors
from torch import Tensor
from transformers import JanusImageProcessor, JanusProcessor, PreTrainedTokenizerFast

from workbench.toy import tokenizer as words
from workbench.toy.recipe.janus_codes import N_TOKENS
from workbench.toy.world import IMAGE_SIZE

BOS, EOS = "<|startoftext|>", "<|endoftext|>"  # the toy's own
PAD, BOI, EOI, IMAGE = "<|pad|>", "<begin_of_image>", "<end_of_image>", "<image_placeholder>"
LONGEST = 64  # tokens of a prompt: captions need at most 24, words that fall apart into letters more
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE + "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def build(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the toy, with Janus's special tokens, padding on the left and no end of text.

    Args:
        folder: Where the toy's own files are written.

    Returns:
        A tokenizer that puts the begin of sentence before any text.
    """
    backend = words.build(folder)._tokenizer
    backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, unk_token=EOS, pad_token=PAD, padding_side="left",
        model_max_length=LONGEST, model_input_names=["input_ids", "attention_mask"],
        extra_special_tokens={"boi_token": BOI, "eoi_token": EOI, "image_token": IMAGE},
    )  # fmt: skip
    made._tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, made.bos_token_id)]
    )
    return made


def processor(tokenizer: PreTrainedTokenizerFast) -> JanusProcessor:
    """What makes prompts of words: `processor(text=["a fox"], generation_mode="image", padding=True)`."""
    pictures = JanusImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, min_size=IMAGE_SIZE, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return JanusProcessor(pictures, tokenizer, chat_template=TEMPLATE, num_image_tokens=N_TOKENS)


def prompts(tokenizer: PreTrainedTokenizerFast, captions: list[str]) -> Tensor:
    """Token ids `[n, L]` int64 of prompts, padded on the left to the longest."""
    texts = [caption + BOI for caption in captions]
    return tokenizer(texts, padding=True, truncation=False, return_tensors="pt").input_ids


def attended(ids: Tensor, bos: int) -> Tensor:
    """The mask of prompts `[n, L]`, int64: 0 before the begin of sentence, 1 from there on, pads in place of words
    too."""
    return ids.eq(bos).long().cumsum(1)


def unconditional(ids: Tensor, bos: int, boi: int, pad: int) -> Tensor:
    """Prompts `[n, L]` with a pad in place of everything but the begin of sentence and of image, as `generate` makes
    them."""
    return ids.masked_fill(ids.ne(bos) & ids.ne(boi), pad)
