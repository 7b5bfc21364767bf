"""From a name to a model handle: a toy, a folder, or a hub id. Safetensors only, never code of others."""

import os
import re
from importlib import import_module
from pathlib import Path

import torch

from saes.disk import read_json
from saes.errors import WorkbenchError, unknown_name
from workbench.models.chosen import Chosen, LoraGiven, Place, loras_of
from workbench.models.janus.checks import check_whole
from workbench.models.model import Model
from workbench.processes import processes

LOADERS = {  # the file that tells a folder's layout → what opens it
    "model_index.json": "workbench.models.diffusion.loading:open_folder",
    "config.json": "workbench.models.janus.loading:open_folder",
}
SHIPPED = Path(__file__).parents[1] / "toy" / "weights"  # the toy package lies above this one and is not imported
TOYS = {"toy": SHIPPED / "pipeline", "toy-janus": SHIPPED / "janus"}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OF_A_JANUS = ["*.json", "*.jinja", "*.safetensors"]


def load(
    name: str | Path,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    *,
    lora: LoraGiven = (),
    scheduler: Place | None = None,
    vae: Place | None = None,
    config_from: Place | None = None,
) -> Model:
    """Loads "toy", a folder, a hub id ("stable-diffusion-v1-5/stable-diffusion-v1-5"), or a single `.safetensors` file.

    A folder is one that `save_pretrained` wrote: of a diffusers pipeline, or of transformers'
    `JanusForConditionalGeneration` with its tokenizer. `device` is the GPU if there is one, under `accelerate launch`
    that of this process; `dtype` is float32 on the CPU, else float16 (bfloat16 for SD3, Flux and Janus, whose values
    exceed float16). Weights are frozen: gradients flow through them, never into them. A folder may hold a
    `workbench.json` with what becomes the model's defaults: `steps`, `guidance_scale` and `image_size` of a pipeline;
    of a Janus, `guidance_scale`, `image_size` (its own) and `boi_token_id`, the id of its begin-of-image token.

    What is put into a pipeline here is part of what it is: results, edits and activations are filed under it. `lora`:
    files that are added to the weights, one, several, or a scale for each; `scheduler`: a class of diffusers by name,
    or a folder; `vae`: a folder or hub id. `config_from` says, for a single file, which pipeline it is one of: a folder
    (its weights are not read) or a hub id; left out, what diffusers takes for such a file, if it is in the hub's cache
    or can be downloaded.

    Raises `WorkbenchError` for an unknown name or kind of model, weights that are pickles, not whole or no numbers,
    code in the folder, a Janus that could make no pictures, a download that fails, and an argument that can have
    no effect on this model.
    """
    chosen, place = Chosen(loras_of(lora), scheduler, vae, config_from), _place(device)
    if (file := Path(name).expanduser()).is_file():
        from workbench.models.diffusion.loading import open_file

        return open_file(str(name), file, place, dtype, chosen)
    chosen.refuse(["config_from"], "is for a single .safetensors file, which this is not", "Leave it out.")
    folder = find_folder(str(name))
    home, opener = next(LOADERS[file] for file in LOADERS if (folder / file).is_file()).split(":")
    return getattr(import_module(home), opener)(str(name), folder, place, dtype, chosen)


def _place(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the one to choose."""
    if device is None and "LOCAL_RANK" in os.environ:
        return processes().device
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def find_folder(name: str) -> Path:
    """The folder of a model, downloaded first if it is a hub id that is not on this machine."""
    toys = {toy: folder for toy, folder in TOYS.items() if folder.is_dir()}
    path = toys.get(name, Path(name).expanduser())
    if path.is_file():
        raise WorkbenchError(
            f"{path} is a single file, without configuration.", "Give the folder of a pipeline of the same kind."
        )
    if any((path / file).is_file() for file in LOADERS):
        return path
    if path.exists():
        raise WorkbenchError(
            f"{path} is no model: it has no model_index.json, and no config.json.",
            "Give the folder that save_pretrained wrote, not one of its components.",
        )
    if not HUB_ID.fullmatch(name) or name.count("/") != 1:
        raise unknown_name("model", name, toys)
    return _download(name)


def find_configs(name: str) -> Path:
    """A folder with the configuration files of a model; of a hub id no weights are downloaded."""
    if Path(name).expanduser().exists() or name in TOYS or not HUB_ID.fullmatch(name):
        return find_folder(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json"]))
    except Exception as error:  # as for `_download`
        raise _no_download(name, error) from error


def _download(name: str) -> Path:
    from diffusers import DiffusionPipeline
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if _is_pipeline(name):
            return Path(DiffusionPipeline.download(name, use_safetensors=True))
        config = Path(hf_hub_download(name, "config.json"))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is no model
        raise _no_download(name, error) from error
    check_whole(config.parent, read_json(config))
    try:
        return Path(snapshot_download(name, allow_patterns=OF_A_JANUS))
    except Exception as error:
        raise _no_download(name, error) from error


def _is_pipeline(name: str) -> bool:
    """Whether a repository on the hub, or in its cache, says that it is a diffusers pipeline."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(name, "model_index.json")
    except EntryNotFoundError:
        return False
    return True


def _no_download(name: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(
        f"{name!r} is neither a folder nor a model that could be downloaded ({str(error).splitlines()[0]}).",
        "Check the spelling and the network; for a gated model run `hf auth login` first.",
    )
