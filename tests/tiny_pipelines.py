"""Pipelines of all five architectures, with their real class names: tiny, random weights, built without a network."""

import json
import string
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = ("a", "photo", "of", "fox", "cat", "dog", "bear", "painting", "red", "blue", "by")
CLIP_LENGTH, T5_LENGTH = 12, 16


def clip_tokenizer() -> CLIPTokenizer:
    """Each of WORDS is one token, all else falls apart into letters."""
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[-2], parts[-1])
            if pair not in merges:
                merges.append(pair)
            parts[-2:] = ["".join(pair)]
    tokens = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)])
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def t5_tokenizer() -> transformers.T5TokenizerFast:
    """A unigram tokenizer of the same words and letters, which pads and ends as T5 does."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -1.0) for word in WORDS] + [(letter, -5.0) for letter in string.ascii_lowercase]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.T5TokenizerFast(tokenizer_object=backend, vocab=pieces, extra_ids=0, model_max_length=T5_LENGTH)


def clip(tokenizer: CLIPTokenizer, *, projection: int = 0, layers: int = 2, width: int = 16) -> torch.nn.Module:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=CLIP_LENGTH, projection_dim=projection or width,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def t5(tokenizer: transformers.T5TokenizerFast, width: int = 16) -> torch.nn.Module:
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=width, d_ff=24, d_kv=8, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", use_cache=False, is_encoder_decoder=False,
    )  # fmt: skip
    return transformers.T5EncoderModel(config)


def vae(channels: int = 4, **extra: object) -> diffusers.AutoencoderKL:
    """Halves the sides: 16 latent pixels are 32 pixels."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels, norm_num_groups=4, layers_per_block=1, **extra,
    )  # fmt: skip


def unet(d_text: int = 16, **extra: object) -> diffusers.UNet2DConditionModel:
    settings = {
        "sample_size": 16, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": d_text, "attention_head_dim": 2,
    }  # fmt: skip
    return diffusers.UNet2DConditionModel(**(settings | extra))


def sd1() -> diffusers.StableDiffusionPipeline:
    tokenizer = clip_tokenizer()
    return diffusers.StableDiffusionPipeline(
        vae(), clip(tokenizer), tokenizer, unet(), diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sd2() -> diffusers.StableDiffusionPipeline:
    tokenizer = clip_tokenizer()
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1)
    return diffusers.StableDiffusionPipeline(
        vae(), clip(tokenizer), tokenizer, unet(use_linear_projection=True, attention_head_dim=(2, 4)), scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> diffusers.StableDiffusionXLPipeline:
    tokenizer = clip_tokenizer()
    denoiser = unet(
        d_text=32, use_linear_projection=True, transformer_layers_per_block=(1, 2), attention_head_dim=(2, 4),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 20,
    )  # fmt: skip
    encoders = clip(tokenizer, layers=3), clip(tokenizer, projection=20, layers=3)
    return diffusers.StableDiffusionXLPipeline(
        vae(force_upcast=True), *encoders, tokenizer, tokenizer, denoiser,
        diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1), add_watermarker=False,
    )  # fmt: skip


def sd3() -> diffusers.StableDiffusion3Pipeline:
    tokenizer, words = clip_tokenizer(), t5_tokenizer()
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, out_channels=4,
        pos_embed_max_size=16,
    )  # fmt: skip
    encoders = clip(tokenizer, projection=16), clip(tokenizer, projection=16)
    return diffusers.StableDiffusion3Pipeline(
        transformer, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), vae(shift_factor=0.06),
        encoders[0], tokenizer, encoders[1], tokenizer, t5(words, width=32), words,
    )  # fmt: skip


def flux() -> diffusers.FluxPipeline:
    tokenizer, words = clip_tokenizer(), t5_tokenizer()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return diffusers.FluxPipeline(
        scheduler, vae(shift_factor=0.1), clip(tokenizer), tokenizer, t5(words), words, transformer
    )


PIPELINES: dict[str, Callable[[], diffusers.DiffusionPipeline]] = {
    "sd1": sd1, "sd2": sd2, "sdxl": sdxl, "sd3": sd3, "flux": flux,
}  # fmt: skip
GUIDANCE = {"sd1": 7.5, "sd2": 7.5, "sdxl": 5.0, "sd3": 7.0, "flux": 3.5}


def save_tiny(kind: str, folder: Path) -> Path:
    """Saves the tiny pipeline of a kind, the same weights each time, with defaults that take seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PIPELINES[kind]().save_pretrained(folder, safe_serialization=True)
    defaults = {"steps": 4, "guidance_scale": GUIDANCE[kind], "image_size": 32}
    (folder / "workbench.json").write_text(json.dumps(defaults))
    return folder
