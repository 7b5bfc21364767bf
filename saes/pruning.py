"""Latents that never fire, taken away."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes.disk import write_json, write_tensors
from saes.errors import WorkbenchError
from saes.files import CONFIG, SAE, WEIGHTS, load

LATENT_AXIS = {"W_enc": 1, "W_dec": 0, "b_enc": 0, "threshold": 0, "b_gate": 0, "b_mag": 0, "r_mag": 0}


@torch.no_grad()
def fires(sae: SAE, batches: Iterable[Float[Tensor, "_ d"]]) -> Bool[Tensor, " d_sae"]:
    """Which latents fire on at least one row.

    Args:
        sae: a sae-lens SAE.
        batches: rows `[n, d]`.

    Returns:
        `[d_sae]`.
    """
    alive = torch.zeros(sae.cfg.d_sae, dtype=torch.bool)
    for batch in batches:
        alive |= (sae.encode(batch.to(sae.W_dec.device, torch.float32)) != 0).any(0).cpu()
    return alive


def pruned(sae: SAE, kept: Bool[Tensor, " d_sae"]) -> SAE:
    """An SAE of some of the latents of another. On rows where no other latent fires it gives the same outputs.

    Small data have fewer features than a dictionary that separates them well has latents: the rest of them stay dead
    whatever is done, and only cost time.

    Args:
        sae: a sae-lens SAE.
        kept: the latents that stay, `[d_sae]`; they keep their order.

    Returns:
        A new SAE.

    Raises:
        WorkbenchError: fewer latents would be left than the k of a TopK SAE.
    """
    config, n = sae.cfg.to_dict(), int(kept.sum())
    if n < max(1, config.get("k", 1)):
        raise WorkbenchError(f"Only {n} latents of the SAE ever fire.", "Train longer, or with a smaller k.")
    tensors = dict(sae.state_dict())
    sae.process_state_dict_for_saving(tensors)
    places = kept.nonzero().flatten().to(sae.W_dec.device)
    for name in LATENT_AXIS.keys() & tensors.keys():
        tensors[name] = tensors[name].index_select(LATENT_AXIS[name], places)
    with tempfile.TemporaryDirectory() as folder:
        write_tensors(Path(folder, WEIGHTS), tensors)
        write_json(Path(folder, CONFIG), {**config, "d_sae": n})
        return load(folder, config["device"])
