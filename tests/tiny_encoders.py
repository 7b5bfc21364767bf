"""A CLIP and a SigLIP of transformers, tiny, with random weights, saved as hubs hold them."""

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, SiglipConfig, SiglipImageProcessor, SiglipModel

from tests.tiny_pipelines import CLIP_LENGTH, T5_LENGTH, clip_tokenizer, t5_tokenizer

SIZE = 32
NETWORK = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**NETWORK, "image_size": SIZE, "patch_size": 8}


def save_clip(folder: Path) -> Path:
    words = clip_tokenizer()
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    text = {**NETWORK, "vocab_size": len(words), "max_position_embeddings": CLIP_LENGTH, **ends}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessor(size=SIZE, crop_size=SIZE).save_pretrained(folder)
    return folder


def save_siglip(folder: Path) -> Path:
    words = t5_tokenizer()
    ends = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": words.eos_token_id}
    text = {**NETWORK, "vocab_size": len(words), "max_position_embeddings": T5_LENGTH, **ends}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION))
        model.logit_scale.data.fill_(2.0)
        model.logit_bias.data.fill_(-1.5)
        model.save_pretrained(folder)
    words.save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


SAVE = {"clip": save_clip, "siglip": save_siglip}
