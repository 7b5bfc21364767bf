"""A scheduler and a VAE from elsewhere, in the place of a pipeline's own."""

from pathlib import Path
from typing import Any

from saes.disk import read_json
from saes.errors import WorkbenchError, unknown_name
from workbench.models.chosen import Place

SCHEDULER_FILE = "scheduler_config.json"
OF_A_VAE = ["config.json", "*.safetensors", "*.safetensors.index.json"]


def scheduler_for(folder: Path, entry: list[str], chosen: Place) -> Any:
    """The scheduler of a class of diffusers, with the noise schedule of the model's own; or the one in a folder.

    Args:
        folder: The model's.
        entry: What its index says of its own scheduler: library and class.
        chosen: The name of a class, or a folder with `scheduler_config.json`, in itself or in `scheduler`.

    Returns:
        A scheduler of diffusers.

    Raises:
        WorkbenchError: There is no such class or folder, or this model's own noise is of another kind.
    """
    import diffusers

    own = getattr(diffusers, entry[1]).from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    place = Path(chosen).expanduser()
    if not place.is_dir():
        known = {kind.__name__: kind for kind in (type(own), *own.compatibles)}
        if str(chosen) not in known:
            raise unknown_name(f"scheduler for a model that has a {type(own).__name__}:", str(chosen), known)
        return known[str(chosen)].from_config(own.config)
    place = place / "scheduler" if (place / "scheduler").is_dir() else place
    if not (place / SCHEDULER_FILE).is_file():
        raise WorkbenchError(f"{place} has no {SCHEDULER_FILE}.", "Give the folder of a scheduler, or of a pipeline.")
    name = read_json(place / SCHEDULER_FILE).get("_class_name", "")
    if not name.endswith("Scheduler") or not hasattr(diffusers, name):
        raise WorkbenchError(f"{place} names no scheduler of diffusers ({name!r}).", "Save the scheduler there again.")
    found = getattr(diffusers, name).from_pretrained(place, local_files_only=True)
    if _flows(found) != _flows(own):
        raise WorkbenchError(
            f"A {name} in {place} is of another noise than the model's {type(own).__name__}: only one of them is a "
            "flow.",
            "Take a scheduler that this kind of model can be sampled with.",
        )
    return found


def vae_folder(chosen: Place, own: Path) -> Path:
    """The folder of a VAE, downloaded first if it is a hub id.

    Args:
        chosen: A folder of a VAE, or of a pipeline with one; or a hub id of a VAE.
        own: The folder of the VAE that it replaces.

    Returns:
        The folder with its `config.json`.

    Raises:
        WorkbenchError: There is none, or its latents are of another shape.
    """
    place = Path(chosen).expanduser()
    if place.is_file():
        raise WorkbenchError(
            f"{place} is a single file.", "Convert it: diffusers.AutoencoderKL.from_single_file(FILE).save_pretrained."
        )
    if not place.exists():
        place = _downloaded(str(chosen))
    place = place / "vae" if (place / "model_index.json").is_file() else place
    config = read_json(place / "config.json") if (place / "config.json").is_file() else {}
    if not str(config.get("_class_name")).startswith(("Autoencoder", "AsymmetricAutoencoder", "ConsistencyDecoder")):
        raise WorkbenchError(f"{place} is no VAE of diffusers.", "Give the folder that a VAE's save_pretrained wrote.")
    for what, of_one, of_other in zip(("latent channels", "levels"), _shape(config), _shape_in(own), strict=True):
        if of_one != of_other:
            raise WorkbenchError(
                f"The VAE {chosen} has {of_one} {what}, and that of the model {of_other}.",
                "Take one that was made for this kind of model.",
            )
    return place


def _flows(scheduler: Any) -> bool:
    predicts = getattr(scheduler.config, "prediction_type", "")
    return "FlowMatch" in type(scheduler).__name__ or predicts == "flow_prediction"


def _shape_in(folder: Path) -> tuple[int, int]:
    return _shape(read_json(folder / "config.json"))


def _shape(config: dict[str, Any]) -> tuple[int, int]:
    """Channels of a latent, and how many levels halve the picture's sides, and one more."""
    levels = config.get("block_out_channels") or config.get("encoder_block_out_channels") or (64,) * 4
    return config.get("latent_channels", 4), len(levels)


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=OF_A_VAE))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is none
        raise WorkbenchError(
            f"{name!r} is neither a folder nor a VAE that could be downloaded ({str(error).splitlines()[0]}).",
            "Check the spelling and the network.",
        ) from error
