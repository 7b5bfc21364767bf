"""What half precision leaves of a small change of weights.

A weight W of a model in half precision lies on the grid of its dtype, and so does what is put in its place:
    (1)  rounding = ‖fl(W + Δ) − W − Δ‖ / ‖Δ‖,   the norms over all changed weights together
A Δ of half a unit in the last place of W or less is lost whole, and (1) is 1 where all of them are. Weights of size
0.03 are 1.5e-5 apart in float16, 1.2e-4 in bfloat16; an Adam step of a fine-tuning is 1e-5 or less.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.models.shifting import shifted_weight

WARNED = 0.1  # of (1)


def rounding(weights: Mapping[str, Tensor], deltas: Mapping[str, Tensor]) -> float:
    """(1): which share of a change its rounding to the weights' dtype misses.

    Args:
        weights: W by name, of any dtype and shape.
        deltas: Δ by name, for some of these, of the same shapes; in float32 or finer.

    Returns:
        0 or more; 0 where nothing changes. Computed in float64.
    """
    missed, wanted = 0.0, 0.0
    for name, delta in deltas.items():
        weight = weights[name].detach()
        exact = weight.double() + delta.to(weight.device, torch.float64)
        missed += float((shifted_weight(weight, delta).double() - exact).square().sum())
        wanted += float(delta.double().square().sum())
    return (missed / wanted) ** 0.5 if wanted else 0.0


def warn_of_rounding(what: str, weights: Mapping[str, Tensor], deltas: Mapping[str, Tensor]) -> None:
    """Warns where weights in half precision take a change up with an error of more than a tenth of it.

    Args:
        what: The edit, as the subject of the sentence.
        weights: W by name, of any dtype.
        deltas: Δ by name, for some of these.
    """
    half = {name: one for name, one in deltas.items() if torch.finfo(weights[name].dtype).bits < 32}
    if half and (share := rounding(weights, half)) > WARNED:
        dtype = str(weights[next(iter(half))].dtype).removeprefix("torch.")
        warnings.warn(
            f"{what} is rounded to {dtype}, which changes it by {share:.0%} of its size. "
            "Load the model in float32 for the whole edit.",
            stacklevel=4,
        )
