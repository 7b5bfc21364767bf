"""A checkpoint of Stable Diffusion in one `.safetensors` file, under the names of its first authors.

diffusers' own reader translates names; what the networks are, how prompts are tokenized and what is predicted is said
by the configuration files of a pipeline of the same kind.
"""

import logging
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from saes.errors import WorkbenchError
from workbench.models.chosen import Place

CONVERT = (
    "pipe = diffusers.StableDiffusionPipeline.from_single_file(FILE) and "
    "pipe.save_pretrained(FOLDER, safe_serialization=True)"
)
CONFIGURATION = ["*.json", "*/*.json", "*.txt", "*/*.txt"]


def check_file(file: Path) -> None:
    """Refuses what is no safetensors file.

    Args:
        file: A single file.

    Raises:
        WorkbenchError: It is a pickle, or anything else.
    """
    if file.suffix != ".safetensors":
        raise WorkbenchError(
            f"{file} is a single file that is no safetensors, and a pickle could run any code when it is read.",
            f"Convert it on a machine that you can lose: {CONVERT}.",
        )


def configuration(file: Path, chosen: Place | None) -> Path:
    """The folder with the configuration of a single file: the one chosen, or the one that diffusers takes for it.

    Args:
        file: The checkpoint.
        chosen: A folder of a pipeline of the same kind, weights or no weights; or a hub id.

    Returns:
        A folder with `model_index.json`.

    Raises:
        WorkbenchError: There is none there, and none could be downloaded.
    """
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    if chosen is not None and (Path(chosen).expanduser() / "model_index.json").is_file():
        return Path(chosen).expanduser()
    name = str(chosen or fetch_diffusers_config(checkpoint_in(file))["pretrained_model_name_or_path"])
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=CONFIGURATION))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is none
        raise WorkbenchError(
            f"{file} is a single file, and its configuration {name!r} is neither a folder nor could be downloaded.",
            "Give the folder of any pipeline of the same kind with --config-from (config_from=); its weights are not "
            "read.",
        ) from error
    if not (folder / "model_index.json").is_file():
        raise WorkbenchError(f"{name} has no model_index.json.", "Give the folder of a pipeline with --config-from.")
    return folder


def checkpoint_in(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by their names; on the disk until they are read."""
    from diffusers.loaders.single_file_utils import load_single_file_checkpoint

    return load_single_file_checkpoint(str(file), local_files_only=True)


def network_in(
    file: Path, checkpoint: dict[str, torch.Tensor], folder: Path, name: str, entry: list[str], dtype: torch.dtype
) -> nn.Module:
    """One network of a checkpoint.

    Args:
        file: Where it came from.
        checkpoint: Its tensors.
        folder: With the configuration of all networks.
        name: Of the network in the pipeline.
        entry: Its library and class.
        dtype: Of its weights.

    Returns:
        The network.

    Raises:
        WorkbenchError: The file holds no such network, lacks tensors of it, or has some of another shape.
    """
    from diffusers import pipelines
    from diffusers.loaders.single_file import load_single_file_sub_model
    from diffusers.loaders.single_file_utils import SingleFileComponentError, is_clip_model_in_single_file

    library, class_name = entry
    kind = getattr(import_module(library), class_name)
    if library == "transformers" and not is_clip_model_in_single_file(kind, checkpoint):  # else the folder's is taken
        raise WorkbenchError(f"{file} holds no {name}.", "Take a checkpoint of the whole model, or a diffusers folder.")
    logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)  # it warns of what it does itself
    try:
        network = load_single_file_sub_model(
            library, class_name, name, dict(checkpoint), pipelines, False, str(folder), local_files_only=True,
            torch_dtype=dtype,
        )  # fmt: skip
    except (SingleFileComponentError, ValueError, RuntimeError, KeyError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        why = "tensors of it are missing" if "meta tensor" in said else f"diffusers says: {said}"
        raise _no_match(file, name, folder, why) from error
    missing = [path for path, tensor in network.named_parameters() if tensor.is_meta]
    if missing:
        raise _no_match(file, name, folder, f"{missing[0]} is missing")
    return network.eval()


def _no_match(file: Path, name: str, folder: Path, why: str) -> WorkbenchError:
    return WorkbenchError(
        f"The {name} in {file} is not the one that {folder} describes ({why}).",
        "Give the configuration of a model of the same kind with --config-from.",
    )
