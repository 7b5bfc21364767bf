"""A folder in diffusers' layout as a model handle. Safetensors only, never code of others."""

import logging
from collections.abc import Mapping
from importlib import import_module
from math import lcm
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field
from torch import nn

from saes.config import StrictConfig
from saes.disk import read_json
from saes.errors import WorkbenchError, unknown_name
from saes.settings import build
from workbench.models.architecture import Defaults
from workbench.models.chosen import Chosen
from workbench.models.diffusion.architecture import DiffusionArchitecture
from workbench.models.diffusion.config_values import limit_tokenizers
from workbench.models.diffusion.loras import fuse_lora
from workbench.models.diffusion.model import LARGEST_GUIDANCE, Diffusion
from workbench.models.diffusion.replaced import scheduler_for, vae_folder
from workbench.models.diffusion.single_file import check_file, checkpoint_in, configuration, network_in
from workbench.models.provenance import Provenance, components, networks, tokenizer_hash
from workbench.models.quiet import quiet
from workbench.models.weights import Weights, check_complete, check_finite, check_whole, weights_of

PIPELINES = {
    "StableDiffusionPipeline": "workbench.models.diffusion.sd:stable_diffusion",
    "StableDiffusionXLPipeline": "workbench.models.diffusion.sdxl:SDXL",
    "StableDiffusion3Pipeline": "workbench.models.diffusion.sd3:SD3",
    "FluxPipeline": "workbench.models.diffusion.flux:Flux",
}
# What is left out, whatever the folder holds: a checker blanks images and hides what a method did.
ABSENT: dict[str, dict[str, Any]] = {
    "StableDiffusionPipeline": {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    "StableDiffusionXLPipeline": {"add_watermarker": False},
}
MAY_LACK = {"StableDiffusion3Pipeline": ("text_encoder_3", "tokenizer_3")}  # T5 is often left out for its size
NEVER_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
DEFAULTS_FILE, LARGEST_SIZE = "workbench.json", 2**14


def open_folder(name: str, folder: Path, device: torch.device, dtype: torch.dtype | None, chosen: Chosen) -> Diffusion:
    """The pipeline in a folder. Raises `WorkbenchError` as `workbench.models.load` says."""
    return _open(name, folder, device, dtype, chosen, None)


def open_file(name: str, file: Path, device: torch.device, dtype: torch.dtype | None, chosen: Chosen) -> Diffusion:
    """The pipeline in a single file. Raises `WorkbenchError` as `workbench.models.load` says."""
    check_file(file)
    check_whole([file])
    return _open(name, configuration(file, chosen.config_from), device, dtype, chosen, file)


def _open(
    name: str, folder: Path, device: torch.device, dtype: torch.dtype | None, chosen: Chosen, file: Path | None
) -> Diffusion:
    """The pipeline that a folder describes, with its weights or those of a single file."""
    index = read_json(folder / "model_index.json")
    pipeline_class = index.get("_class_name", "")
    if pipeline_class not in PIPELINES:
        raise unknown_name("kind of pipeline", str(pipeline_class), PIPELINES)
    _check_parts(folder, index)
    dtype = dtype or _dtype(pipeline_class, device)
    made: dict[str, Any] = {}
    if chosen.scheduler is not None:
        made["scheduler"] = scheduler_for(folder, index["scheduler"], chosen.scheduler)
    places = {part: folder / part for part in _networks(index)}
    if chosen.vae is not None:
        places["vae"] = vae_folder(chosen.vae, folder / "vae")
        index["vae"] = ["diffusers", read_json(places["vae"] / "config.json")["_class_name"]]
    weights = _weights(places if file is None else {"vae": places["vae"]} if chosen.vae is not None else {})
    files = {part: found.files for part, found in weights.items()}
    with quiet():
        made |= {part: _network(places[part], found, index[part], dtype) for part, found in weights.items()}
        if file is not None:
            files["checkpoint"], tensors = [file], checkpoint_in(file)
            missing = {part: entry for part, entry in _networks(index).items() if part not in made}
            made |= {part: network_in(file, tensors, folder, part, entry, dtype) for part, entry in missing.items()}
    pipe = _pipeline(folder, index, dtype, made).to(device)
    for lora in chosen.loras:
        fuse_lora(pipe, lora)
    for part, network in networks(pipe):
        check_finite(places[part] if part in weights or file is None else file, network.requires_grad_(False))
    limit_tokenizers(pipe)
    architecture, more = architecture_of(pipe), chosen.record
    if file is not None:  # in a folder they stand beside the weights; of a file, any configuration may be given
        more += [["tokenizer", name, tokenizer_hash(one)] for name, one in components(pipe) if "tokenizer" in name]
    provenance = Provenance(files, pipe, file or folder, more)
    return Diffusion(name, architecture, _defaults(folder, architecture), provenance)


def architecture_of(pipe: Any) -> DiffusionArchitecture:
    """What we know of a pipeline of one of diffusers' classes that are in `PIPELINES`."""
    home, attribute = PIPELINES[type(pipe).__name__].split(":")
    return getattr(import_module(home), attribute)(pipe)


def _parts(index: dict[str, Any]) -> dict[str, list[Any]]:
    """The entries of an index that name a component: a library and a class, or nothing for one that was left out."""
    return {
        name: entry
        for name, entry in index.items()
        if not name.startswith("_") and isinstance(entry, list) and name not in NEVER_LOADED
    }


def _left_out(index: dict[str, Any]) -> dict[str, None]:
    """The components that a folder is without, for `from_pretrained`. A tokenizer goes with its encoder."""
    names = [name for name, entry in _parts(index).items() if entry[0] is None]
    return dict.fromkeys([*names, *(name.replace("text_encoder", "tokenizer") for name in names)])


def _check_parts(folder: Path, index: dict[str, Any]) -> None:
    """Refuses a folder without a component that is needed, with one of another library, and of an unknown class."""
    for name in _left_out(index):
        if name not in MAY_LACK.get(index["_class_name"], ()):
            raise WorkbenchError(
                f"{folder} is without the {name} of a {index['_class_name']}.",
                "Save the whole pipeline there; SD3 alone may lack a component, its T5 encoder.",
            )
    for name, (library, class_name) in _parts(index).items():
        if library not in ("diffusers", "transformers", None) not in ("diffusers", "transformers"):
            raise WorkbenchError(
                f"{folder} wants its component {name!r} from {library!r}, which is neither diffusers nor transformers.",
                "Code that comes with a model is never run here; use a pipeline of standard components.",
            )
        if library and not hasattr(import_module(library), class_name):
            raise WorkbenchError(
                f"{folder} wants a {class_name} as its {name}, which this {library} "
                f"({import_module(library).__version__}) does not have.",
                f"Install a newer {library}, or name another class in {folder / 'model_index.json'}.",
            )


def _networks(index: dict[str, Any]) -> dict[str, list[str]]:
    """The entries of the components that have weights."""
    return {
        name: [library, class_name]
        for name, (library, class_name) in _parts(index).items()
        if library and issubclass(getattr(import_module(library), class_name), torch.nn.Module)
    }


def _weights(places: Mapping[str, Path]) -> dict[str, Weights]:
    """The weight files in the folder of each network."""
    found = {}
    for name, place in places.items():
        found[name] = weights_of(place, "")
        check_whole(found[name].files)
    return found


def _pipeline(folder: Path, index: dict[str, Any], dtype: torch.dtype, made: dict[str, Any]) -> Any:
    """diffusers' pipeline of the components that are made, and those of the folder that have no weights."""
    import diffusers

    pipeline_class = index["_class_name"]
    logging.getLogger(getattr(diffusers, pipeline_class).__module__).setLevel(logging.ERROR)  # we warn of cut prompts
    with quiet():
        pipe = getattr(diffusers, pipeline_class).from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            **{**_left_out(index), **made, **ABSENT.get(pipeline_class, {})},
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _network(folder: Path, found: Weights, entry: list[str], dtype: torch.dtype) -> nn.Module:
    """One network of a pipeline. Refuses files that lack some of its tensors, which would be filled with noise."""
    library, class_name = entry
    network, report = getattr(import_module(library), class_name).from_pretrained(
        folder, dtype=dtype, use_safetensors=True, variant=found.variant, local_files_only=True,
        output_loading_info=True,
    )  # fmt: skip
    check_complete(folder, report)
    return network


def _dtype(pipeline_class: str, device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if pipeline_class in ("StableDiffusion3Pipeline", "FluxPipeline") else torch.float16


class DefaultsFile(StrictConfig):
    """What `workbench.json` holds: `Defaults`, all three."""

    model_config = ConfigDict(strict=True)

    steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=-LARGEST_GUIDANCE, le=LARGEST_GUIDANCE)
    image_size: int = Field(ge=1, le=LARGEST_SIZE)


def _defaults(folder: Path, architecture: DiffusionArchitecture) -> Defaults:
    """Those of the folder's `workbench.json`, or of this kind of model. Raises `WorkbenchError` for impossible ones."""
    path = folder / DEFAULTS_FILE
    if not path.is_file():
        return architecture.defaults()
    found = build(DefaultsFile, read_json(path), str(path))
    pipe = architecture.pipe
    longest = pipe.scheduler.config.num_train_timesteps
    unit = lcm(8, pipe.vae_scale_factor * (2 if hasattr(pipe, "transformer") else 1))  # transformers see 2 × 2 patches
    if found.steps > longest:
        raise WorkbenchError(f"{path}: steps is {found.steps}.", f"Choose 1 to {longest}.")
    if found.image_size % unit:
        raise WorkbenchError(f"{path}: image_size is {found.image_size}.", f"Choose a multiple of {unit}.")
    return Defaults(**found.model_dump())
