"""SAEs on disk, in the folder format of sae-lens: `cfg.json` and `sae_weights.safetensors`.

What we write, plain `sae_lens.SAE.load_from_disk` opens; what sae-lens wrote, we open, and folders of sparsify
(`foreign`). Never a pickle. An SAE that is opened takes rows as they are: what scales them first is folded in.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saes.disk import read_json, read_tensors, write_json, write_tensors
from saes.errors import WorkbenchError, unknown_name
from saes.foreign import PICKLES, no_weights, open_sparsify
from saes.foreign import WEIGHTS as SPARSIFY
from saes.hashes import check_hash, write_hashes

SAE = Any  # sae_lens.SAE; the import of sae-lens takes seconds and waits until an SAE is opened
CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
ACTIVATIONS = ("relu", "topk", "jumprelu")  # that old folders name and sae-lens keeps


def save(sae: SAE, sae_dir: Path | str, metadata: Mapping[str, Any]) -> None:
    """Writes an SAE and what is known of it. `cfg.json` comes last: where it is, the folder is whole.

    `metadata` is added to sae-lens' own. Its version stays: without one of at least 6, sae-lens' reader takes the
    folder for an old one and drops every name that it does not know.

    Args:
        sae: a sae-lens SAE for inference.
        sae_dir: the folder, which is made.
        metadata: JSON values by name.

    Raises:
        WorkbenchError: the folder cannot be written, or `metadata` holds a number that is not finite.
    """
    sae_dir = Path(sae_dir)
    tensors = dict(sae.state_dict())
    sae.process_state_dict_for_saving(tensors)
    config = {**sae.cfg.to_dict(), "device": "cpu"}
    config["metadata"] = {**config["metadata"], **metadata}
    write_tensors(sae_dir / WEIGHTS, tensors)
    write_hashes(sae_dir)
    write_json(sae_dir / CONFIG, config)


def load(sae_dir: Path | str, device: str = "cpu") -> SAE:
    """Opens a sae-lens folder for inference.

    Training checkpoints open too. Those of batchtopk and matryoshka become the JumpReLU that sae-lens saves them as:
    their training form looks at a whole batch, so that a row's features would depend on its neighbours. The factor
    by which sae-lens scales rows before a checkpoint sees them is folded into its weights.

    Args:
        sae_dir: the folder.
        device: where to put the SAE.

    Returns:
        A sae-lens SAE in float32 and without gradients.

    Raises:
        WorkbenchError: the folder is absent, damaged, altered since it was saved, of an unknown architecture, computes
            what is not computed here, or holds a pickle only.
    """
    sae_dir = Path(sae_dir)
    _check_folder(sae_dir)
    config = read_json(sae_dir / CONFIG)
    if not isinstance(config, dict):
        raise WorkbenchError(f"{sae_dir / CONFIG} should hold a JSON object.", "Take another copy of the folder.")
    foreign = not (sae_dir / WEIGHTS).is_file()
    if foreign and not (sae_dir / SPARSIFY).is_file():
        raise no_weights(sae_dir, WEIGHTS)
    _check_weights(sae_dir / (SPARSIFY if foreign else WEIGHTS))
    if foreign:
        return open_sparsify(sae_dir, config).to(device).eval().requires_grad_(False)
    _check_activation(sae_dir, config)
    try:
        sae = _open(sae_dir, config, device)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WorkbenchError(
            f"{sae_dir} does not hold what its {CONFIG} says ({' '.join(str(error).split())}).",
            "Save it again with sae-lens, or take another copy.",
        ) from error
    sae = sae.eval().requires_grad_(False)
    _fold_scale(sae_dir, sae)
    _remember(sae, config)
    return sae


def _check_activation(sae_dir: Path, config: Mapping[str, Any]) -> None:
    """Refuses an old folder whose activation function sae-lens would pass over."""
    said = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    if said not in ACTIVATIONS:
        raise WorkbenchError(
            f"{sae_dir} has the activation function {said!r}, which is none of {', '.join(ACTIVATIONS)}.",
            "Train one with `workbench train`, or take another.",
        )


def _fold_scale(sae_dir: Path, sae: SAE) -> None:
    """Folds the scale of the inputs into the weights, as sae-lens does when a training ends."""
    kind = sae.cfg.normalize_activations
    if kind not in ("expected_average_only_in", "covariance_whitening"):
        return
    scaler = read_json(sae_dir / SCALER) if (sae_dir / SCALER).is_file() else {}
    factor = scaler.get("scaling_factor") if isinstance(scaler, dict) else None
    if kind == "covariance_whitening" or not isinstance(factor, float | int) or not factor > 0:
        raise WorkbenchError(
            f"{sae_dir} takes rows that were changed first ({kind}), and does not say how in a way that is read here.",
            f"Put the {SCALER} that sae-lens wrote beside it, or save what the training ended with, where it is folded "
            "into the weights.",
        )
    sae.fold_activation_norm_scaling_factor(float(factor))


def _remember(sae: SAE, config: Mapping[str, Any]) -> None:
    """What the folder says of itself, which sae-lens drops for a folder that names no version."""
    said = config.get("metadata")
    for name, value in said.items() if isinstance(said, dict) else ():
        if getattr(sae.cfg.metadata, name, None) is None:
            setattr(sae.cfg.metadata, name, value)


def _check_weights(path: Path) -> None:
    check_hash(path)
    for name, tensor in read_tensors(path).items():
        if tensor.isnan().any():  # infinity has its use: a threshold that no activation reaches
            raise WorkbenchError(f"{path}: {name} holds NaN.", "Take another copy.")


def _open(sae_dir: Path, config: dict[str, Any], device: str) -> SAE:
    from sae_lens import SAE as AnySAE
    from sae_lens import TrainingSAE
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    architecture = config.get("architecture", "standard")
    if "topk" in architecture and not 0 < config.get("k", 1) <= config["d_sae"]:
        raise ValueError(f"k is {config['k']} of {config['d_sae']} latents")
    if architecture in SAE_CLASS_REGISTRY:
        return AnySAE.load_from_disk(sae_dir, device=device, dtype="float32")
    if architecture not in SAE_TRAINING_CLASS_REGISTRY:
        raise unknown_name("architecture", architecture, {*SAE_CLASS_REGISTRY, *SAE_TRAINING_CLASS_REGISTRY})
    with tempfile.TemporaryDirectory() as inference_dir:
        TrainingSAE.load_from_disk(sae_dir, device=device, dtype="float32").save_inference_model(inference_dir)
        return AnySAE.load_from_disk(inference_dir, device=device, dtype="float32")


def _check_folder(sae_dir: Path) -> None:
    files = [sae_dir] if sae_dir.is_file() else list(sae_dir.glob("*"))
    if not (sae_dir / CONFIG).is_file():
        if pickles := sorted(file.name for file in files if file.suffix in PICKLES):
            raise WorkbenchError(
                f"{sae_dir} holds a pickle checkpoint ({pickles[0]}), and opening one can run any code.",
                "Save it with sae-lens's `save_inference_model` where you trust it, and open that folder.",
            )
        raise WorkbenchError(f"{sae_dir} is no SAE folder: it has no {CONFIG}.", "Give a folder that sae-lens saved.")


def check_rebuilds(sae: SAE) -> None:
    """Whether an SAE gives back the rows that it takes, as what measures or replaces a site expects.

    Args:
        sae: a coder of sae-lens.

    Raises:
        WorkbenchError: it makes rows of another site (a transcoder), or takes them in another shape (hook_z).
    """
    architecture, shape = sae.cfg.architecture(), getattr(sae.cfg, "reshape_activations", "none")
    if "transcoder" in architecture or sae.W_enc.shape[0] != sae.W_dec.shape[-1]:
        raise WorkbenchError(
            f"The SAE is a {architecture}: it makes rows of another site, and does not rebuild those that it takes.",
            "Give an autoencoder, such as `workbench train` saves.",
        )
    if shape != "none":
        raise WorkbenchError(
            f"The SAE takes the heads of an attention side by side ({shape}), and rows of a site are given.",
            "Give one that was trained on rows as they are.",
        )


def check_width(sae: SAE, width: int, site: str) -> None:
    """Whether an SAE fits a site.

    Args:
        sae: a sae-lens SAE.
        width: number of channels of the site.
        site: its alias.

    Raises:
        WorkbenchError: the SAE takes rows of another width.
    """
    if sae.cfg.d_in != width:
        made_for = sae.cfg.metadata.hook_name
        raise WorkbenchError(
            f"The SAE takes {sae.cfg.d_in} channels but {site} has {width}.",
            f"It was trained at {made_for!r}; use it there." if made_for else "Train one at that site.",
        )
