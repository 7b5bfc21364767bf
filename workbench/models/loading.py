"""From a name to a model handle: the toy, a diffusers folder, or a hub id. Safetensors only, never code of others."""

import os
import re
from importlib import import_module
from pathlib import Path

import torch

from saes.errors import WorkbenchError, unknown_name
from workbench.models.model import Model
from workbench.processes import processes

LOADERS = {  # the file that tells a folder's layout → what opens it
    "model_index.json": "workbench.models.diffusion.loading:open_folder",
}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load(name: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Model:
    """Loads "toy", a folder in diffusers' layout, or a hub id ("stable-diffusion-v1-5/stable-diffusion-v1-5").

    `device` is the GPU if there is one, under `accelerate launch` that of this process; `dtype` is float32 on the CPU,
    else float16 (bfloat16 for SD3 and Flux, whose values exceed float16). Weights are frozen: gradients flow through
    them, never into them. A folder may hold a `workbench.json` with `steps`, `guidance_scale` and `image_size`, which
    become the model's defaults.
    Raises `WorkbenchError` for an unknown name or kind of pipeline, weights that are pickles, not whole or no numbers,
    code in the folder, and a download that fails.
    """
    folder, place = find_folder(str(name)), _place(device)
    home, opener = next(LOADERS[file] for file in LOADERS if (folder / file).is_file()).split(":")
    return getattr(import_module(home), opener)(str(name), folder, place, dtype)


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
