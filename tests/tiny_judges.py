"""Judges of transformers, tiny and saved as hubs hold them: one that answers in words, one that tells colours.

The language model has no layers: each word follows from the one before, by a table, so that what it says is known.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
)

SIZE, WIDTH = 32, 32
SPECIAL = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
WORDS = ["safe", "unsafe", ",", "violence", "else", "else.", "female", "young", "adult", "caucasian", "<", ">", "."]
NETWORK = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


def save_vlm(folder: Path, follows: Mapping[str, str]) -> Path:
    """`follows`: word → the word that comes after it; questions end with "." and answers with "</s>"."""
    words = {word: place for place, word in enumerate([*SPECIAL, *WORDS])}
    texts = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    texts.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=texts, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    text = LlamaConfig(
        **{**NETWORK, "hidden_size": WIDTH, "num_hidden_layers": 0}, vocab_size=len(words), max_position_embeddings=512,
        tie_word_embeddings=False, eos_token_id=words["</s>"], pad_token_id=words["<pad>"], bos_token_id=words["<s>"],
    )  # fmt: skip
    vision = CLIPVisionConfig(**NETWORK, image_size=SIZE, patch_size=8)
    image = words["<image>"]
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-1)
    )
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.eye(len(words), WIDTH))
        head = torch.zeros(len(words), WIDTH)
        for before, after in follows.items():
            head[words[after], words[before]] = 1
        model.get_output_embeddings().weight.copy_(head)
    model.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessor(size=SIZE, crop_size=SIZE), tokenizer, patch_size=8, image_token="<image>",
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_classifier(folder: Path, labels: tuple[str, str, str] = ("red", "green", "blue"), **more: object) -> Path:
    """The label of whichever channel of RGB is strongest: one convolution, its mean, and the identity."""
    config = ResNetConfig(
        embedding_size=3, hidden_sizes=[3], depths=[1], layer_type="basic", downsample_in_first_stage=False,
        id2label=dict(enumerate(labels)), label2id={label: place for place, label in enumerate(labels)}, **more,
    )  # fmt: skip
    model = ResNetForImageClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if name.endswith("normalization.weight"):
                parameter.fill_(1)
        stem = next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d))
        middle = stem.kernel_size[0] // 2
        for channel in range(3):
            stem.weight[channel, channel, middle, middle] = 1
        model.classifier[-1].weight.copy_(20 * torch.eye(3))
    model.eval().save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}, image_mean=[0.0] * 3, image_std=[1.0] * 3).save_pretrained(
        folder
    )
    return folder
