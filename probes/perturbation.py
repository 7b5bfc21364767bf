"""Targeted probe perturbation and spurious correlation removal (SAEBench, arXiv:2503.09532, after Marks et al. 2024).

Whether a few latents hold a concept and nothing else is asked by taking them out, x − Σ_{j∈L} f_j W_dec[j], and
looking what probes on x still tell. The latents of a class, with w the weights of its probe:
    (1)  e_j = (mean_{y=1} f_j − mean_{y=0} f_j) · (W_dec[j] · w);   L_n = the n largest, of those above 0
Targeted probe perturbation, A_i the accuracy of probe i, A_ij without the n latents of class j:
    (2)  TPP_n = mean_i (A_i − A_ii) − mean_{i≠j} (A_i − A_ij)        in [−1, 1]: 0.5 if only probe i falls to chance
Spurious correlation removal: a probe for y is fitted on rows where y and a second attribute z always agree, and
judged on rows where they are independent; then without the n latents of z; an oracle was fitted on independent rows:
    (3)  SCR_n = (A_without − A_biased) / (A_oracle − A_biased)        1: the bias is gone; below 0: y was hurt instead
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from probes.classifier import Classifier, balanced_accuracy, fit_classifier
from probes.sparse_probing import mean_difference

NS = (2, 5, 10, 20, 50)
LEAST_BIAS = 0.2  # an (A_oracle − A_biased) that a ratio can be taken of: of a smaller one it is mostly noise


class Coded(NamedTuple):
    """Rows `x`, their features `f`, the decoder, and which rows are held out of every fit."""

    x: Float[Tensor, "n d"]
    f: Float[Tensor, "n d_sae"]
    W_dec: Float[Tensor, "d_sae d"]
    held_out: Bool[Tensor, " n"]


def class_latents(coded: Coded, y: Bool[Tensor, " n"], weight: Float[Tensor, " d"], n: int) -> Int64[Tensor, " k"]:
    """The latents of a class (1), chosen on the training rows.

    Args:
        coded: rows with their features.
        y: which rows have the class, `[n]`.
        weight: weights of its probe, `[d]`.
        n: how many latents at most.

    Returns:
        Latents, the most effective first; fewer than n if fewer have an effect above 0.
    """
    seen = ~coded.held_out
    effect = mean_difference(coded.f[seen], y[seen]) * (coded.W_dec @ weight.to(coded.W_dec))
    best = effect.topk(min(n, len(effect)))
    return best.indices[best.values > 0]


def without(coded: Coded, latents: Int64[Tensor, " k"]) -> Float[Tensor, "held_out d"]:
    """The held-out rows with some latents taken out. What the SAE does not explain stays.

    Args:
        coded: rows with their features.
        latents: what to take out, `[k]`.

    Returns:
        `[held_out, d]`.
    """
    return coded.x[coded.held_out] - coded.f[coded.held_out][:, latents] @ coded.W_dec[latents]


def tpp(coded: Coded, factors: Mapping[str, Bool[Tensor, " n"]], ns: Sequence[int] = NS) -> pd.DataFrame:
    """Targeted probe perturbation (2).

    Args:
        coded: rows with their features.
        factors: which rows have each factor, `[n]` by name; two factors or more.
        ns: numbers of latents to take out.

    Returns:
        A line for each n. Columns: n; tpp in [−1, 1]; on_target and off_target, its two means.
    """
    seen, out = ~coded.held_out, coded.held_out
    probes = {name: fit_classifier(coded.x[seen], y[seen]) for name, y in factors.items()}
    ranked = {name: class_latents(coded, y, probes[name].weight, max(ns)) for name, y in factors.items()}

    def accuracies(x: Tensor) -> Tensor:
        said = [balanced_accuracy(probe.says(x), factors[name][out]) for name, probe in probes.items()]
        return torch.tensor(said, dtype=torch.float64)

    whole, rows = accuracies(coded.x[out]), []
    diagonal = torch.eye(len(probes), dtype=torch.bool)
    for n in ns:
        fall = torch.stack([whole - accuracies(without(coded, ranked[name][:n])) for name in factors])
        on, off = float(fall[diagonal].mean()), float(fall[~diagonal].mean())
        rows.append((n, on - off, on, off))  # (2)
    return pd.DataFrame(rows, columns=["n", "tpp", "on_target", "off_target"])


def scr(coded: Coded, wanted: Bool[Tensor, " n"], spurious: Bool[Tensor, " n"], ns: Sequence[int] = NS) -> pd.DataFrame:
    """Spurious correlation removal (3).

    Args:
        coded: rows with their features.
        wanted: which rows have the attribute y, `[n]`.
        spurious: which rows have the attribute z, `[n]`.
        ns: numbers of latents to take out.

    Returns:
        A line for each n. Columns: n; scr, NaN where the biased probe is hardly worse than the oracle; biased, oracle
        and ablated, accuracies in [0, 1] with equal say of the four combinations of wanted and spurious.
    """
    seen, out = ~coded.held_out, coded.held_out
    cells = 2 * wanted.long() + spurious.long()
    agree = seen & (wanted == spurious)
    biased = fit_classifier(coded.x[agree], wanted[agree])
    oracle = fit_classifier(coded.x[seen], wanted[seen], cells[seen])
    apart = fit_classifier(coded.x[seen], spurious[seen], cells[seen])
    ranked = class_latents(coded, spurious, apart.weight, max(ns))

    def accuracy(probe: Classifier, x: Tensor) -> float:
        return balanced_accuracy(probe.says(x), wanted[out], cells[out])

    base, best, rows = accuracy(biased, coded.x[out]), accuracy(oracle, coded.x[out]), []
    for n in ns:
        ablated = accuracy(biased, without(coded, ranked[:n]))
        share = (ablated - base) / (best - base) if best - base >= LEAST_BIAS else float("nan")  # (3)
        rows.append((n, share, base, best, ablated))
    return pd.DataFrame(rows, columns=["n", "scr", "biased", "oracle", "ablated"])
