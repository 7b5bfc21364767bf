"""A Janus of its real class, tiny, with random weights and a tokenizer of a dozen words, built without a network."""

import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import JanusConfig, JanusForConditionalGeneration, PreTrainedTokenizerFast

from tests.tiny_pipelines import WORDS

SPECIAL = (
    "<pad>", "<bos>", "<eos>", "<unk>", "<begin_of_image>", "<end_of_image>", "<image>", "<|User|>", "<|Assistant|>",
)  # fmt: skip
PAD, BOS, EOS, BOI = 0, 1, 2, 4
SIDE, CELLS, CODES, LAYERS, WIDTH, PIXELS = 4, 16, 64, 3, 32, 8
TEMPLATE = (  # shaped as the published one
    "{% for m in messages %}<|User|>: {% for c in m['content'] %}{{ c['text'] if c['type'] == 'text' else '<image>' }}"
    "{% endfor %}\n{% endfor %}{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)


def tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """Each of WORDS is one token; so is each letter."""
    words = dict.fromkeys([*SPECIAL, *WORDS, *string.ascii_lowercase, *string.digits, *string.punctuation])
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>",
        additional_special_tokens=list(SPECIAL[4:]), padding_side="left",
    )  # fmt: skip
    made.chat_template = template
    return made


def config(**changed: dict) -> JanusConfig:
    """`changed` are settings of the parts, such as `vision_config={"num_image_tokens": 9}`."""
    parts = {
        "text_config": {
            "model_type": "llama", "vocab_size": 96, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 4,
            "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "initializer_range": 0.3,  # so that one prompt is told from another
        },
        "vision_config": {
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": PIXELS, "patch_size": 2,
            "num_image_tokens": CELLS, "projection_dim": WIDTH,
        },
        "vq_config": {
            "embed_dim": 8, "num_embeddings": CODES, "latent_channels": 32, "base_channels": 32,
            "channel_multiplier": [1, 1], "num_res_blocks": 1, "projection_dim": WIDTH, "image_token_embed_dim": WIDTH,
            "initializer_range": 0.3,
        },
    }  # fmt: skip
    return JanusConfig(image_token_id=6, **{name: {**part, **changed.get(name, {})} for name, part in parts.items()})


def save_tiny_janus(folder: Path, template: str | None = None, **changed: dict) -> Path:
    """Saves it as `save_pretrained` does, the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = JanusForConditionalGeneration(config(**changed)).eval()
        for embedding in (whole.model.generation_embeddings, whole.model.vqmodel.quantize.embedding):
            torch.nn.init.normal_(embedding.weight)
    whole.save_pretrained(folder, safe_serialization=True)
    tokenizer(template).save_pretrained(folder)
    (folder / "workbench.json").write_text(json.dumps({"guidance_scale": 3.0}))
    return folder
