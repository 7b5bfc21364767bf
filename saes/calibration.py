"""What a run measures on the data itself: the input scale before it, a JumpReLU threshold after it."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from saes.files import SAE


class Moments(NamedTuple):
    """`mean` per column; `scale` makes the centred rows of unit variance per column on average."""

    mean: Float[Tensor, " d"]
    scale: float


def moments(batches: Iterable[Float[Tensor, "_ d"]]) -> Moments:
    """Mean and scale of rows, in one pass.

    Args:
        batches: rows `[n, d]`, at least one batch.

    Returns:
        The mean `[d]`, and the factor that makes the centred rows of unit variance per column on average.

    Raises:
        WorkbenchError: all rows are equal.
    """
    rows, total, squares = 0, torch.zeros(()), 0.0
    shift: Tensor | None = None  # squares about the first row, so that a large mean does not swallow the variance
    for batch in batches:
        shift = batch[0].double() if shift is None else shift
        centred = batch.double() - shift
        rows, total, squares = rows + len(batch), total + centred.sum(0), squares + float(centred.square().sum())
    assert shift is not None
    variance = squares - float(total.square().sum()) / rows
    if not variance > 0:
        raise WorkbenchError("All activations are equal: there is nothing to learn.", "Harvest at another site.")
    return Moments((shift + total / rows).float(), (len(shift) * rows / variance) ** 0.5)


@torch.no_grad()
def threshold_for_l0(sae: SAE, batches: Iterable[Float[Tensor, "_ d"]], l0: float, max_rows: int = 16384) -> float:
    """The threshold, one for all latents, at which a JumpReLU SAE has a given mean L0.

    sae-lens learns the threshold of batchtopk as a moving average from 0 at rate 0.01: after a few hundred steps it
    is far too low, and the SAE fires several times more latents than it was trained with.

    Args:
        sae: the SAE.
        batches: rows `[n, d]` to count on.
        l0: the wanted number of active latents a row, > 0.
        max_rows: how many rows to count on at most.

    Returns:
        The threshold, ≥ 0.
    """
    kept: Tensor = torch.empty(0)
    rows = 0
    for batch in islice(batches, max(1, max_rows)):
        pre = (sae.process_sae_in(batch.to(sae.W_enc.device)) @ sae.W_enc + sae.b_enc).relu().flatten()
        rows += len(batch)
        kept = torch.cat([kept.to(pre), pre])
        # Only the rows · l0 + 1 largest can matter, and of a later total no smaller ones.
        kept = kept.topk(min(len(kept), round(max_rows * l0) + 1)).values
        if rows >= max_rows:
            break
    return float(kept[min(round(rows * l0), len(kept) - 1)])  # "pre > threshold" leaves exactly the larger ones
