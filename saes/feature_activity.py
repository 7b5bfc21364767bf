"""What single features do: how often they fire, on which rows most, and which fire together. One pass, small memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.files import SAE


@dataclass(frozen=True)
class FeatureStats:
    """Per feature, over `rows` rows in the order in which they came.

    `top_rows[f]` are the numbers of the rows on which feature f is strongest, `top_values[f]` its activations there,
    both from the strongest down; -1 and 0 fill up where it fired on fewer rows.
    """

    rows: int
    density: Float[Tensor, " d_sae"]  # share of rows on which it fires
    mean_active: Float[Tensor, " d_sae"]  # mean activation where it fires; 0 if never
    top_values: Float[Tensor, "d_sae n"]
    top_rows: Int64[Tensor, "d_sae n"]


@torch.no_grad()
def feature_stats(sae: SAE, batches: Iterable[Float[Tensor, "_ d"]], n_top: int = 20) -> FeatureStats:
    """How often, how strongly and where each feature fires. The rows are streamed once.

    Memory is O(d_sae · n_top) besides one batch of features. Rows in stored order (`block.rows for block in
    store.blocks(site)`) make `top_rows` indices into `store.labels(site)`.

    Args:
        sae: a sae-lens SAE.
        batches: rows `[n, d]`.
        n_top: how many of its strongest rows to keep of each feature.

    Returns:
        Statistics of all features.
    """
    d_sae = sae.cfg.d_sae
    rows, fired, total = 0, torch.zeros(d_sae, dtype=torch.float64), torch.zeros(d_sae, dtype=torch.float64)
    values, indices = torch.zeros(d_sae, n_top), torch.full((d_sae, n_top), -1)
    for batch in batches:
        features = sae.encode(batch.to(sae.W_dec.device)).cpu()
        fired += (features != 0).sum(0)
        total += features.sum(0, dtype=torch.float64)
        best = features.T.topk(min(n_top, len(features)), dim=1)
        candidates = torch.cat([indices, torch.where(best.values > 0, best.indices + rows, -1)], dim=1)
        values, keep = torch.cat([values, best.values], dim=1).topk(n_top, dim=1)
        indices = candidates.gather(1, keep)
        rows += len(features)
    mean_active = total / fired.clamp_min(1)
    return FeatureStats(rows, (fired / max(rows, 1)).float(), mean_active.float(), values, indices)


@torch.no_grad()
def coactivation(
    sae: SAE, batches: Iterable[Float[Tensor, "_ d"]], features: Int64[Tensor, " f"]
) -> Float[Tensor, "f f"]:
    """How often chosen features fire together.

    Args:
        sae: a sae-lens SAE.
        batches: rows `[n, d]`.
        features: indices `[f]`.

    Returns:
        `[f, f]`, the Jaccard overlap of the rows on which two fire: |both| / |either| in [0, 1]; 0 if neither fires.
    """
    both = torch.zeros(len(features), len(features), dtype=torch.float64)
    for batch in batches:
        fires = (sae.encode(batch.to(sae.W_dec.device))[:, features] != 0).double().cpu()
        both += fires.T @ fires
    fired = both.diagonal()
    either = fired[:, None] + fired[None, :] - both
    return (both / either.clamp_min(1)).float()
