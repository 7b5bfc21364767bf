"""A Stable Diffusion 1 in one file, under the names of its first authors: the way back from diffusers' names.

Written from the modules of CompVis's `ldm` (`openaimodel`, `diffusionmodules.model`, `FrozenCLIPEmbedder`), not from
diffusers' reader, which the tests test.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def save_as_ldm(pipe: Any, path: Path, half: bool = False) -> Path:
    """Writes UNet, VAE and text encoder of a Stable Diffusion 1 pipeline of diffusers into one file."""
    tensors = {f"model.diffusion_model.{_unet(name, pipe.unet.config)}": one for name, one in state(pipe.unet).items()}
    for name, one in state(pipe.vae).items():
        place = _vae(name, len(pipe.vae.config.block_out_channels))
        as_convolution = ".attn_1." in place and place.endswith("weight") and one.ndim == 2
        tensors[f"first_stage_model.{place}"] = one[:, :, None, None] if as_convolution else one
    for name, one in state(pipe.text_encoder).items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = one
    save_file({name: (one.half() if half else one).contiguous() for name, one in tensors.items()}, path)
    return path


def state(network: Any) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("position_ids")}


def _unet(name: str, config: Any) -> str:
    for ours, theirs in ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    a_level = config.layers_per_block + 1
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = match[1], int(match[2]), match[3]
        return f"middle_block.{2 * number if kind == 'resnets' else 1}.{_resnet(rest) if kind == 'resnets' else rest}"
    side, level, kind, number, rest = re.fullmatch(
        r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name
    ).groups()
    blocks, first = ("input_blocks", 1) if side == "down" else ("output_blocks", 0)
    start = first + a_level * int(level)
    if kind == "downsamplers":
        return f"{blocks}.{start + a_level - 1}.0.op{rest.removeprefix('conv')}"
    if kind == "upsamplers":
        attends = config.up_block_types[int(level)].startswith("CrossAttn")
        return f"{blocks}.{start + a_level - 1}.{2 if attends else 1}.{rest}"
    return (
        f"{blocks}.{start + int(number)}.{0 if kind == 'resnets' else 1}.{_resnet(rest) if kind == 'resnets' else rest}"
    )


def _resnet(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{RESNET[layer]}.{kind}"


def _vae(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    if match := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)", name):
        return f"{match[1]}mid.attn_1.{ATTENTION[match[2]]}.{match[3]}"
    name = re.sub(r"down_blocks\.(\d)\.", r"down.\1.", name)
    name = re.sub(r"up_blocks\.(\d)\.", lambda match: f"up.{levels - 1 - int(match[1])}.", name)
    name = name.replace(".resnets.", ".block.").replace(".downsamplers.0.", ".downsample.")
    return name.replace(".upsamplers.0.", ".upsample.")
