"""Sparse probing: how much of a known factor a few columns hold (Gurnee et al. 2023, arXiv:2305.01610; SAEBench).

    (1)  s_j = |mean_{y=1} f_j − mean_{y=0} f_j| / std f_j    on the training rows; the k largest columns are chosen
    (2)  accuracy_k = balanced accuracy on held-out rows of a logistic probe on these columns
An SAE whose latents are the factors is as good at k = 1 as a probe on all neurons. What k of the raw neurons give,
and k latents of random weights, says how much of that is the SAE's doing.
SAEBench does not divide by the standard deviation. Where columns differ in loudness, as positions of a prompt make
them, the loud ones are then chosen: at the toy's text.2, accuracy at k = 1 was 0.71 so, and 0.99 with (1).
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from probes.classifier import balanced_accuracy, fit_classifier

KS = (1, 2, 5)
DENSE = 0  # stands for k where all columns were used


def mean_difference(f: Float[Tensor, "n d"], y: Bool[Tensor, " n"]) -> Float[Tensor, " d"]:
    """Of each column, its mean where y is true less its mean where it is not.

    Args:
        f: columns, `[n, d]`.
        y: the two classes, `[n]`.

    Returns:
        `[d]`.
    """
    return f[y].mean(0) - f[~y].mean(0)


def best_columns(f: Float[Tensor, "n d"], y: Bool[Tensor, " n"], k: int) -> Int64[Tensor, " k"]:
    """The columns whose class means differ most (1). Columns that never vary are the last.

    Args:
        f: columns, `[n, d]`.
        y: the two classes, `[n]`.
        k: how many, at most d.

    Returns:
        Indices `[k]`, the best first.
    """
    f = f.double()
    # A column may be constant but for rounding (what the begin token does in every prompt): it tells nothing apart.
    least = 1e-5 * f.abs().mean(0) + 1e-30
    difference = mean_difference(f, y).abs() / f.std(0).clamp_min(least)  # (1)
    return difference.topk(min(k, f.shape[1])).indices


def probe_accuracy(f: Float[Tensor, "n d"], y: Bool[Tensor, " n"], held_out: Bool[Tensor, " n"]) -> float:
    """(2) for all given columns.

    Args:
        f: columns, `[n, d]`.
        y: the two classes, `[n]`.
        held_out: which rows are judged and not fitted, `[n]`.

    Returns:
        A share in [0, 1]; 0.5 is chance.
    """
    return balanced_accuracy(fit_classifier(f[~held_out], y[~held_out]).says(f[held_out]), y[held_out])


def sparse_probing(
    inputs: Mapping[str, Float[Tensor, "n _"]],
    factors: Mapping[str, Bool[Tensor, " n"]],
    held_out: Bool[Tensor, " n"],
    ks: Sequence[int] = KS,
    dense: Sequence[str] = (),
) -> pd.DataFrame:
    """How much of each factor a few columns of each input hold.

    Args:
        inputs: rows `[n, _]` by name, such as activations and features.
        factors: which rows have each factor, `[n]` by name; rows of both kinds on both sides of `held_out`.
        held_out: which rows are judged and not fitted, `[n]`.
        ks: numbers of columns.
        dense: names of inputs that are also judged with all columns.

    Returns:
        Columns: factor; input; k, 0 for all columns; accuracy in [0, 1].
    """
    rows = []
    for factor, y in factors.items():
        for name, f in inputs.items():
            order = best_columns(f[~held_out], y[~held_out], max(ks))
            chosen = {k: f[:, order[:k]] for k in ks} | ({DENSE: f} if name in dense else {})
            rows += [(factor, name, k, probe_accuracy(some, y, held_out)) for k, some in chosen.items()]
    return pd.DataFrame(rows, columns=["factor", "input", "k", "accuracy"])


def enough(y: Bool[Tensor, " n"], held_out: Bool[Tensor, " n"], least: int = 10) -> bool:
    """Whether a factor can be judged.

    Args:
        y: which rows have it, `[n]`.
        held_out: which rows are judged and not fitted, `[n]`.
        least: rows of both kinds that both sides need.

    Returns:
        Whether they have them.
    """
    sides = (y[held_out], y[~held_out])
    return all(int(torch.minimum(side.sum(), (~side).sum())) >= least for side in sides)
