"""Edits as other programs load them: a LoRA of peft and diffusers, one of WebUI and ComfyUI, a text encoder.

What opens adapters by prompt is lost, and with it what it spares: they are written as always open.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saes.disk import new_folder, write_tensors
from saes.errors import WorkbenchError
from workbench.edits.edit import Edit
from workbench.edits.low_rank import LowRank, low_rank
from workbench.models import Model
from workbench.models.beside import Term

LORA_FILE = "pytorch_lora_weights.safetensors"  # what `load_lora_weights` looks for in a folder
ALPHA = ".alpha"
_PLAIN = ("sd1", "sd2")  # kinds with one text encoder, which WebUI calls te
_CLIP = re.compile(r"^(text_encoder(?:_2)?)\.(encoder\.layers|embeddings|final_layer_norm)(?=\.)")
_BLOCK = re.compile(r"^text_encoder(?:_2)?\.(?:text_model\.)?encoder\.layers\.\d+")
_PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}


def to_lora(edit: Edit, folder: Path | str, *, rank: int | None = None) -> LowRank:
    """Writes an edit as one LoRA that `pipe.load_lora_weights(folder)` loads.

    Args:
        edit: Adapters, which are written as always open, or a change of weights.
        folder: A new folder.
        rank: The largest rank of a layer; left out, whatever is exact.

    Returns:
        What was written, and what a rank lost.

    Raises:
        WorkbenchError: As `low_rank`, or the folder exists.
    """
    found = low_rank(edit, rank)
    tensors: dict[str, Tensor] = {}
    for layer, term in recognisable(found.terms).items():
        name = published(layer)
        tensors |= {f"{name}.lora_A.weight": term.down, f"{name}.lora_B.weight": _as_layer(term)}
    with new_folder(folder) as new:
        write_tensors(new / LORA_FILE, tensors)
    return found


def to_webui(edit: Edit, model: Model, path: Path | str, *, rank: int | None = None) -> LowRank:
    """Writes an edit as one LoRA with the names that kohya's trainers, WebUI and ComfyUI have; diffusers reads it too.

    Args:
        edit: As for `to_lora`.
        model: The model of the edit: a Stable Diffusion 1, 2 or XL.
        path: A new file that ends in .safetensors.
        rank: As for `to_lora`.

    Returns:
        What was written, and what a rank lost.

    Raises:
        WorkbenchError: As `low_rank`; the model is of another kind or not the edit's; or the file exists.
    """
    edit.check(model)
    kind, path = model.architecture.kind, Path(path)
    if kind not in (*_PLAIN, "sdxl"):
        raise WorkbenchError(f"WebUI has no names for the layers of {kind!r}.", "Write a LoRA of peft, or bake it.")
    if path.suffix != ".safetensors" or path.exists():
        raise WorkbenchError(f"{path} is no new file for a LoRA.", "Give a new one that ends in .safetensors.")
    found = low_rank(edit, rank)
    tensors: dict[str, Tensor] = {}
    for layer, term in recognisable(found.terms).items():
        name = webui_name(layer, kind)
        tensors |= {f"{name}.lora_down.weight": term.down, f"{name}.lora_up.weight": _as_layer(term)}
        tensors[f"{name}{ALPHA}"] = torch.tensor(float(len(term.down)))  # α / r = 1: U has the factor
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors)
    return found


def to_text_encoder(edit: Edit, model: Model, folder: Path | str) -> str:
    """Writes the text encoder that an edit changes as a folder, to be put into any model of the same encoder.

    Args:
        edit: A change of weights of one text encoder, such as AdvUnlearn's.
        model: The model of the edit.
        folder: A new folder; `CLIPTextModel.from_pretrained(folder)` reads it.

    Returns:
        Which encoder of the pipeline it is, such as "text_encoder_2".

    Raises:
        WorkbenchError: The edit acts while the model runs, changes anything but one text encoder, or is of another
            model; or the folder exists.
    """
    edit.check(model)
    changed = sorted({name.partition(".")[0] for part in edit.in_weights() for name in part.names})
    encoders = [side.path for side in model.architecture.prompt_sides]
    if len(changed) != 1 or changed[0] not in encoders:
        raise WorkbenchError(
            f"The edit changes {' and '.join(changed)}, not one text encoder alone.",
            "Write a whole model with `workbench bake`.",
        )
    with new_folder(folder) as new, model.edited(edit):
        encoder: Any = model.module(changed[0])
        encoder.save_pretrained(new, safe_serialization=True)
    return changed[0]


def webui_name(layer: str, kind: str) -> str:
    """What WebUI calls a layer.

    Args:
        layer: Its path in the pipeline.
        kind: "sd1", "sd2" or "sdxl".

    Returns:
        Such as "lora_unet_mid_block_attentions_0_proj_in".
    """
    component, _, below = published(layer).partition(".")
    prefix = "lora_te" if kind in _PLAIN and component == "text_encoder" else _PREFIXES[component]
    return f"{prefix}_{below.replace('.', '_')}"


def recognisable(terms: Mapping[str, Term]) -> dict[str, Term]:
    """The products of a LoRA, and of each CLIP at least one at the output of its attention.

    By that one diffusers (0.42) knows the form of the names of a text encoder; without it, it refuses some.

    Args:
        terms: By the paths of their layers.

    Returns:
        The same, with a product of zeros where there is none.
    """
    found = dict(terms)
    for layer, term in terms.items():
        if match := _BLOCK.match(layer):
            output, last = f"{match[0]}.self_attn.out_proj", layer.rpartition(".")[2]
            width = len(term.up) if last == "fc2" else term.down.shape[1]
            rank = len(term.down)
            found.setdefault(output, Term(term.down.new_zeros(rank, width), term.up.new_zeros(width, rank)))
    return found


def published(name: str) -> str:
    """What files call a layer or parameter: CLIP's lie below "text_model", which modules of transformers 5 have not.

    Args:
        name: As it is in the pipeline.

    Returns:
        The name in files.
    """
    return _CLIP.sub(r"\1.text_model.\2", name)


def _as_layer(term: Term) -> Tensor:
    """U; beside a convolution as one of 1 × 1."""
    return term.up[:, :, None, None] if term.down.ndim == 4 else term.up
