"""An SAE with random weights: what any dictionary of this size and sparsity gives, learnt or not."""

import torch
from torch.nn.functional import normalize

from saes.files import SAE


def random_weights(sae: SAE, seed: int = 0) -> SAE:
    """A TopK SAE with random weights, as large and as sparse as another.

    Its decoder rows are uniform random directions, and its encoder is the decoder transposed.

    Args:
        sae: the SAE whose width, number of latents, L0 (rounded, at least 1) and `b_dec` it takes.
        seed: seed of the directions.

    Returns:
        A `sae_lens.TopKSAE` on the CPU, without gradients.
    """
    from sae_lens import TopKSAE, TopKSAEConfig

    k = max(1, round(getattr(sae.cfg, "k", None) or sae.cfg.metadata.l0))
    control = TopKSAE(TopKSAEConfig(d_in=sae.cfg.d_in, d_sae=sae.cfg.d_sae, k=k))
    drawn = torch.randn(sae.cfg.d_sae, sae.cfg.d_in, generator=torch.Generator().manual_seed(seed))
    control.W_dec.data = normalize(drawn, dim=1)
    control.W_enc.data = control.W_dec.data.T.contiguous()
    control.b_enc.data.zero_()
    control.b_dec.data = sae.b_dec.detach().cpu().clone()
    return control.eval().requires_grad_(False)
