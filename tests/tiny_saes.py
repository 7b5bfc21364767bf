"""SAEs for the tiny pipelines, in the format of sae-lens, made without training."""

from collections.abc import Sequence
from pathlib import Path

import torch
from sae_lens import TopKSAE, TopKSAEConfig
from torch import Tensor

import saes
from workbench.activations.reading import held
from workbench.hooks import Place
from workbench.models import Model

WORDS = ("fox", "cat", "dog", "bear", "vixen")
KNOWN = [*(f"{start}{word}" for word in WORDS for start in ("a photo of a ", "")), "red dog", "a blue painting"]


def directions_sae(directions: Tensor, site: str, *, k: int, b_dec: Tensor | None = None) -> TopKSAE:
    """A top-k SAE that encodes by projection on unit directions and decodes with the same."""
    unit = directions / directions.norm(dim=1, keepdim=True)
    sae = TopKSAE(TopKSAEConfig(d_in=unit.shape[1], d_sae=unit.shape[0], k=k))
    sae.W_dec.data, sae.W_enc.data = unit, unit.T.contiguous()
    if b_dec is not None:
        sae.b_dec.data = b_dec
    sae.cfg.metadata.hook_name = site
    return sae.requires_grad_(False)


def random_sae(model: Model, site: str, *, d_sae: int = 96, k: int = 6) -> TopKSAE:
    """Random directions: of the right shape, and no good at rebuilding anything."""
    draw = torch.Generator().manual_seed(0)
    return directions_sae(torch.randn(d_sae, model.site(site).channels, generator=draw), site, k=k)


def memorising_sae(model: Model, site: str, prompts: Sequence[str] = KNOWN) -> TopKSAE:
    """A feature for each token in its context of some prompts, which it rebuilds exactly with k = 1."""
    seen = held(model, model.site(site), prompts)
    rows = seen.x[seen.places != Place.ABSENT]
    distinct = rows[[i for i in range(len(rows)) if not (rows[:i] - rows[i]).abs().amax(-1).lt(1e-4).any()]]
    mean = distinct.mean(dim=0)
    return directions_sae(distinct - mean, site, k=1, b_dec=mean)


def save_tiny_sae(sae: TopKSAE, folder: Path) -> str:
    """The folder of the SAE, as text: what `ItD(sae=…)` takes."""
    saes.save(sae, folder, {"hook_name": sae.cfg.metadata.hook_name})
    return str(folder)
