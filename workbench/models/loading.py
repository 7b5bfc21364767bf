"""From a name to a model handle: the toy, a diffusers folder, or a hub id. Safetensors only, never code of others."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saes.disk import read_json
from saes.errors import WorkbenchError, unknown_name
from workbench.models.architecture import Architecture, Defaults
from workbench.models.model import Model
from workbench.models.provenance import Provenance
from workbench.models.weights import check_complete, check_whole, weight_files
from workbench.processes import processes

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
NEVER_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
DEFAULTS_FILE = "workbench.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load(name: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Model:
    """Loads "toy", a folder in diffusers' layout, or a hub id ("stable-diffusion-v1-5/stable-diffusion-v1-5").

    `device` is the GPU if there is one, under `accelerate launch` that of this process; `dtype` is float32 on the CPU,
    else float16 (bfloat16 for SD3 and Flux, whose values exceed float16). Weights are frozen: gradients flow through
    them, never into them. A folder may hold a `workbench.json` with `steps`, `guidance_scale` and `image_size`, which
    become the model's defaults.
    Raises `WorkbenchError` for an unknown name or kind of pipeline, weights that are pickles or not whole, code in the
    folder, and a download that fails.
    """
    folder = find_folder(str(name))
    index = read_json(folder / "model_index.json")
    pipeline_class = index.get("_class_name", "")
    if pipeline_class not in PIPELINES:
        raise unknown_name("kind of pipeline", str(pipeline_class), PIPELINES)
    files = _weights(folder, index)
    place = _place(device)
    pipe = _pipeline(folder, pipeline_class, dtype or _dtype(pipeline_class, place), files, index).to(place)
    home, attribute = PIPELINES[pipeline_class].split(":")
    architecture: Architecture = getattr(import_module(home), attribute)(pipe)
    return Model(str(name), architecture, _defaults(folder, architecture), Provenance(files, pipe))


def _place(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the one to choose."""
    if device is None and "LOCAL_RANK" in os.environ:
        return processes().device
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def find_folder(name: str) -> Path:
    """The folder of a model, downloaded first if it is a hub id that is not on this machine."""
    if name == "toy":  # the toy package lies above this one and is not imported; its weights are package data
        name = str(Path(__file__).parents[1] / "toy" / "weights" / "pipeline")
    path = Path(name).expanduser()
    if path.is_file():
        raise WorkbenchError(
            f"{path} is a single file.", "Convert it to a folder with diffusers' from_single_file and save_pretrained."
        )
    if (path / "model_index.json").is_file():
        return path
    if path.exists():
        raise WorkbenchError(
            f"{path} is no diffusers pipeline: it has no model_index.json.",
            "Give the folder that save_pretrained wrote, not one of its components.",
        )
    if not HUB_ID.fullmatch(name) or name.count("/") != 1:
        raise unknown_name("model", name, ["toy"])
    return _download(name)


def _download(name: str) -> Path:
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(name, use_safetensors=True))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is no model
        raise WorkbenchError(
            f"{name!r} is neither a folder nor a model that could be downloaded ({str(error).splitlines()[0]}).",
            "Check the spelling and the network; for a gated model run `hf auth login` first.",
        ) from error


def _weights(folder: Path, index: dict[str, Any]) -> dict[str, list[Path]]:
    """The weight files of each component. Refuses components that are no class of diffusers or transformers."""
    files = {}
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or entry[0] is None or name in NEVER_LOADED:
            continue
        library, class_name = entry
        if library not in ("diffusers", "transformers"):
            raise WorkbenchError(
                f"{folder} wants its component {name!r} from {library!r}, which is neither diffusers nor transformers.",
                "Code that comes with a model is never run here; use a pipeline of standard components.",
            )
        if issubclass(getattr(import_module(library), class_name), torch.nn.Module):
            files[name] = weight_files(folder, name)
            check_whole(files[name])
    return files


def _pipeline(
    folder: Path, pipeline_class: str, dtype: torch.dtype, files: dict[str, list[Path]], index: dict[str, Any]
) -> Any:
    import diffusers

    logging.getLogger(getattr(diffusers, pipeline_class).__module__).setLevel(logging.ERROR)  # we warn of cut prompts
    with quiet():
        networks = {name: _network(folder, name, paths, index[name], dtype) for name, paths in files.items()}
        pipe = getattr(diffusers, pipeline_class).from_pretrained(
            folder, dtype=dtype, local_files_only=True, **networks, **ABSENT.get(pipeline_class, {})
        )
    pipe.set_progress_bar_config(disable=True)
    for name in files:
        getattr(pipe, name).requires_grad_(False)
    return pipe


def _network(folder: Path, name: str, files: list[Path], entry: list[str], dtype: torch.dtype) -> nn.Module:
    """One network of a pipeline. Refuses files that lack some of its tensors, which would be filled with noise."""
    library, class_name = entry
    variant = "fp16" if any(".fp16." in path.name for path in files) else None
    network, report = getattr(import_module(library), class_name).from_pretrained(
        folder / name, dtype=dtype, use_safetensors=True, variant=variant, local_files_only=True,
        output_loading_info=True,
    )  # fmt: skip
    check_complete(folder / name, report)
    return network


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars that diffusers and transformers draw while they load."""
    import diffusers
    import transformers

    loggers = (diffusers.utils.logging, transformers.utils.logging)
    bars = [logger for logger in loggers if logger.is_progress_bar_enabled()]
    for bar in bars:
        bar.disable_progress_bar()
    try:
        yield
    finally:
        for bar in bars:
            bar.enable_progress_bar()


def _dtype(pipeline_class: str, device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if pipeline_class in ("StableDiffusion3Pipeline", "FluxPipeline") else torch.float16


def _defaults(folder: Path, architecture: Architecture) -> Defaults:
    path = folder / DEFAULTS_FILE
    return Defaults(**read_json(path, Defaults._fields)) if path.is_file() else architecture.defaults()
