"""One row a prompt: the mean of a site's rows, or of their features, over all positions, pixels and steps of a prompt.

Means add up: the mean of Σ_j f_j W_dec[j] is Σ_j (mean f_j) W_dec[j], so what holds of a row holds of its prompt.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saes.files import SAE
from saes.store import ActivationStore


@torch.no_grad()
def prompt_means(store: ActivationStore, site: str, sae: SAE | None = None) -> Float[Tensor, "prompts columns"]:
    """Mean over the rows of each prompt of a store.

    Args:
        store: the store.
        site: one of its sites.
        sae: average the features of this SAE; None: average the activations.

    Returns:
        `[prompts, d_sae or d]`, in the order of the store's prompts.
    """
    n, width = len(store.prompts), store.width(site) if sae is None else sae.cfg.d_sae
    total, rows = torch.zeros(n, width, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for block in store.blocks(site):
        prompts = block.labels["prompt"].long()
        values = block.rows if sae is None else sae.encode(block.rows.to(sae.W_dec.device)).cpu()
        total.index_add_(0, prompts, values.double())
        rows.index_add_(0, prompts, torch.ones(len(prompts), dtype=torch.float64))
    return (total / rows[:, None]).float()
