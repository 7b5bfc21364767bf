"""SAE folders of other libraries than sae-lens: what they are, and how they are opened or why not.

EleutherAI's sparsify writes `cfg.json` and `sae.safetensors`, and SAeUron does the same with settings of its own:
    z = TopK_k(ReLU((x − b_dec) Eᵀ + b_E)),  x̂ = z W_dec + b_dec        E [d_sae, d_in] and b_E are the encoder's
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saes.disk import read_tensors
from saes.errors import WorkbenchError

WEIGHTS = "sae.safetensors"
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}
_TENSORS = {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}
_PLAIN = {  # what other settings must be for the equation to hold
    "activation": ("topk", None), "transcode": (False, None), "skip_connection": (False, None),
    "input_unit_norm": (False, None), "batch_topk": (False, None), "sample_topk": (False, None),
}  # fmt: skip
_TRAINING = ("expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk", "d_in")


def open_sparsify(sae_dir: Path, config: Mapping[str, Any]) -> Any:
    """Opens a folder of sparsify.

    Args:
        sae_dir: The folder.
        config: Its cfg.json.

    Returns:
        A topk SAE of sae-lens.

    Raises:
        WorkbenchError: It has settings that change what is computed, or tensors that do not fit.
    """
    from sae_lens import TopKSAE, TopKSAEConfig

    _check_settings(sae_dir, config)
    tensors = read_tensors(sae_dir / WEIGHTS)
    if tensors.keys() != _TENSORS:
        raise WorkbenchError(
            f"{sae_dir / WEIGHTS} holds {', '.join(sorted(tensors))}, and sparsify {', '.join(sorted(_TENSORS))}.",
            "Save the SAE with sae-lens, whose folders are read.",
        )
    d_sae, d_in = tensors["W_dec"].shape
    k = config.get("k")
    if not isinstance(k, int) or not 0 < k <= d_sae:
        raise WorkbenchError(f"{sae_dir}: k is {k!r} of {d_sae} latents.", "Correct its cfg.json.")
    sae = TopKSAE(TopKSAEConfig(d_in=d_in, d_sae=d_sae, k=k, rescale_acts_by_decoder_norm=False))
    named = {"W_enc": tensors["encoder.weight"].mT, "b_enc": tensors["encoder.bias"]}
    sae.load_state_dict(named | {name: tensors[name] for name in ("W_dec", "b_dec")})
    return sae


def no_weights(sae_dir: Path, weights: str) -> WorkbenchError:
    """What is said of a folder that has a cfg.json and none of the weights that are read.

    Args:
        sae_dir: The folder.
        weights: The file that sae-lens would have written.

    Returns:
        The error, for the caller to raise.
    """
    pickles = sorted(file.name for file in sae_dir.iterdir() if file.suffix in PICKLES)
    if pickles:
        return WorkbenchError(
            f"{sae_dir} holds its weights as a pickle ({pickles[0]}), and opening one can run any code.",
            "Where you trust it: `torch.load` it, and `safetensors.torch.save_file` its tensors as "
            f"{weights} (names of sae-lens) or {WEIGHTS} (names of sparsify).",
        )
    return WorkbenchError(f"{sae_dir} has no weights ({weights}).", "Take another copy of the folder.")


def _check_settings(sae_dir: Path, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if name not in _TRAINING and value not in _PLAIN.get(name, ()):
            raise WorkbenchError(
                f"{sae_dir} is an SAE of sparsify's form with {name} = {value!r}, which is not computed here.",
                "Fold it into the weights, or train one with `workbench train`.",
            )
