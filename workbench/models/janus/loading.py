"""A folder that `JanusForConditionalGeneration.save_pretrained` wrote, as a model handle. Safetensors only."""

from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field
from transformers import AutoTokenizer, GenerationConfig, JanusConfig, JanusForConditionalGeneration

from saes.config import StrictConfig
from saes.disk import read_json
from saes.errors import WorkbenchError
from saes.settings import build
from workbench.models import weights
from workbench.models.chosen import Chosen
from workbench.models.janus.architecture import GUIDANCE, JanusArchitecture
from workbench.models.janus.checks import check_sizes, check_whole
from workbench.models.janus.choosing import LARGEST
from workbench.models.janus.layout import Layout
from workbench.models.janus.model import Janus
from workbench.models.janus.parts import Parts
from workbench.models.janus.special import special_ids
from workbench.models.provenance import Provenance
from workbench.models.quiet import quiet


class OwnFile(StrictConfig):
    """What the `workbench.json` of a Janus may hold."""

    model_config = ConfigDict(strict=True)

    guidance_scale: float = Field(default=GUIDANCE, ge=-LARGEST, le=LARGEST)
    image_size: int | None = None
    boi_token_id: int | None = Field(default=None, ge=0)


def open_folder(name: str, folder: Path, device: torch.device, dtype: torch.dtype | None, chosen: Chosen) -> Janus:
    """The model in a folder. Raises `WorkbenchError` as `workbench.models.load` says."""
    chosen.refuse(chosen.names, f"has no effect on {name}, a Janus, which is no pipeline of diffusers", "Leave it out.")
    said = read_json(folder / "config.json")
    check_whole(folder, said)
    config = JanusConfig.from_dict(said)
    check_sizes(folder, config)
    own = _own(folder, config.vision_config.image_size)
    layout = _layout(folder, config, own.boi_token_id)
    files = weights.weight_files(folder, ".")
    weights.check_whole(files)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    parts = Parts(_whole(folder, device, dtype), layout.tokenizer, folder)
    weights.check_finite(folder, parts.whole)
    architecture = JanusArchitecture(parts, layout)
    defaults = architecture.defaults()._replace(guidance_scale=own.guidance_scale)
    return Janus(name, architecture, defaults, Provenance({"janus": files}, parts, folder))


def _own(folder: Path, image_size: int) -> OwnFile:
    path = folder / "workbench.json"
    own = build(OwnFile, read_json(path), str(path)) if path.is_file() else OwnFile()
    if own.image_size not in (None, image_size):
        raise WorkbenchError(f"{path}: image_size is {own.image_size}.", f"A Janus has one size: here {image_size}.")
    return own


def _layout(folder: Path, config: Any, begin_of_image: int | None) -> Layout:
    """Tokenizer, ids and chat template."""
    if not (folder / "tokenizer.json").is_file():
        raise WorkbenchError(f"{folder} has no tokenizer.json.", "Save the model's tokenizer there too.")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    special = special_ids(folder, tokenizer, _generation(folder, config.text_config), begin_of_image)
    cells = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    room = config.text_config.max_position_embeddings - cells
    if room < len(special):
        raise WorkbenchError(
            f"{folder / 'config.json'} has max_position_embeddings {room + cells}, and a picture has {cells} tokens.",
            "Raise it.",
        )
    tokenizer.chat_template = _template(folder, tokenizer)
    layout = Layout(tokenizer, special, min(room, tokenizer.model_max_length))
    layout.check_template(folder)
    return layout


def _generation(folder: Path, text: Any) -> GenerationConfig:
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(text)


def _template(folder: Path, tokenizer: Any) -> str | None:
    """The published chat template: with the tokenizer, or in the file in which processors kept theirs before."""
    path = folder / "chat_template.json"
    found = read_json(path)["chat_template"] if path.is_file() else tokenizer.chat_template
    return found["default"] if isinstance(found, dict) else found


def _whole(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    with quiet():
        whole, report = JanusForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    weights.check_complete(folder, report)
    return whole.to(device).eval().requires_grad_(False)
