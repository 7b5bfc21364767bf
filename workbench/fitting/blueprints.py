"""Models as they are built, without their weights: which networks they have, and the configuration of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from saes.disk import read_json
from saes.errors import WorkbenchError
from workbench.models import Diffusion
from workbench.models.provenance import networks

Networks = Mapping[str, tuple[str, Mapping[str, Any]]]  # by name in the pipeline: class and configuration


class Blueprint(NamedTuple):
    """A model as it is built: the class of its pipeline, its networks, and the side of its pictures in pixels.

    `image_encoder` is the configuration of the CLIP image encoder that an image adapter brings.
    """

    pipeline: str
    networks: Networks
    image_size: int
    image_encoder: Mapping[str, Any]


INDEX = "model_index.json"
_NETWORKS = ("vae", "text_encoder", "text_encoder_2", "unet")
_OF_FILES = ("architectures", "dtype", "model_type", "torch_dtype", "transformers_version")  # how weights were saved
_CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "vocab_size": 49408, "max_position_embeddings": 77, "projection_dim": 768,
}  # fmt: skip
_CLIP_G = _CLIP_L | {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280,
}  # fmt: skip
_VIT_H = {  # the image encoder of the published IP-Adapters for SD1; that for SDXL in its version "vit-h"
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "projection_dim": 1024,
}  # fmt: skip
_VAE = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4,
}  # fmt: skip
_UNET_1 = {
    "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2,
    "cross_attention_dim": 768, "attention_head_dim": 8,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
}  # fmt: skip
_UNET_XL = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "layers_per_block": 2, "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip

SD14 = Blueprint(
    "StableDiffusionPipeline",
    {
        "vae": ("diffusers:AutoencoderKL", _VAE | {"sample_size": 512}),
        "text_encoder": ("transformers:CLIPTextModel", _CLIP_L),
        "unet": ("diffusers:UNet2DConditionModel", _UNET_1),
    },
    512,
    _VIT_H,
)
SDXL = Blueprint(
    "StableDiffusionXLPipeline",
    {
        "vae": ("diffusers:AutoencoderKL", _VAE | {"sample_size": 1024}),
        "text_encoder": ("transformers:CLIPTextModel", _CLIP_L),
        "text_encoder_2": ("transformers:CLIPTextModelWithProjection", _CLIP_G),
        "unet": ("diffusers:UNet2DConditionModel", _UNET_XL),
    },
    1024,
    _VIT_H,
)
PUBLISHED = {"SD1.4": SD14, "SDXL": SDXL}


def blueprint_of(model: Diffusion, image_encoder: Mapping[str, Any] = _VIT_H) -> Blueprint:
    """The blueprint of a model that is loaded.

    Args:
        model: A pipeline with a UNet.
        image_encoder: The configuration of the image encoder of its adapter.

    Returns:
        Its classes and configurations; no weights.
    """
    found = {}
    for name, part in networks(model.pipe):
        told: Any = part.config
        config = told.to_dict() if hasattr(told, "to_dict") else dict(told)
        found[name] = (f"{type(part).__module__.partition('.')[0]}:{type(part).__name__}", _own_settings(config))
    return Blueprint(type(model.pipe).__name__, found, model.image_size, image_encoder)


def blueprint_in(folder: Path, image_size: int | None = None) -> Blueprint:
    """The blueprint of a model that lies in a folder, from its configuration files alone.

    Args:
        folder: Of a diffusers pipeline with a UNet.
        image_size: The side of its pictures in pixels; left out, that of `workbench.json`, or what the UNet was
            trained at.

    Returns:
        Its classes and configurations.

    Raises:
        WorkbenchError: It is another kind of model.
    """
    if not (folder / INDEX).is_file():
        raise WorkbenchError(
            f"{folder} is no pipeline of diffusers.", "Plans are made for Stable Diffusion 1, 2 and XL."
        )
    index = read_json(folder / INDEX)
    made_of = {name: one for name, one in index.items() if isinstance(one, list) and one[0] and name in _NETWORKS}
    if not {"unet", "vae", "text_encoder"} <= made_of.keys():
        raise WorkbenchError(
            f"{folder} is a {index.get('_class_name')}, without the parts of a Stable Diffusion.",
            "Plans are made for Stable Diffusion 1, 2 and XL.",
        )
    found = {
        name: (f"{library}:{kind}", _own_settings(read_json(folder / name / "config.json")))
        for name, (library, kind) in made_of.items()
    }
    return Blueprint(index["_class_name"], found, image_size or _size(folder, found), _VIT_H)


def _own_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says how weights were saved: in the precision named there some encoders would be built."""
    return {key: one for key, one in config.items() if not key.startswith("_") and key not in _OF_FILES}


def _size(folder: Path, found: Networks) -> int:
    own = read_json(folder / "workbench.json") if (folder / "workbench.json").is_file() else {}
    side = found["unet"][1].get("sample_size") or 64
    side = side if isinstance(side, int) else max(side)
    return own.get("image_size") or side * 2 ** (len(found["vae"][1]["block_out_channels"]) - 1)
