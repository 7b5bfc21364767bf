"""Feature splitting and absorption (Chanin et al. 2024, arXiv:2409.14507; thresholds of SAEBench).

A concept is split if several latents are needed to tell it, and absorbed where its own latents stay silent because a
more special one ("vixen") took over what they would have said ("fox"). With p the unit direction of a dense probe:
    (1)  the concept's own latents are the first k of `best_columns`, k the smallest (≤ 10) at which one more gains less
         than 0.03 of F1
    (2)  c_j = (f_j − mean_{y=0} f_j) · (W_dec[j] · p)    what latent j contributes on a row, against a row without it
    (3)  absorbed: y and the probe says so; all own latents are 0; the largest c_j has cos(W_dec[j], p) ≥ 0.025 and is
         at least 0.4 of Σ c, which is positive
    (4)  rate = absorbed / rows with y where the probe says so
SAEBench projects rows as they are; (2) takes off what rows without the concept have too, since the rows of a text
encoder lie far from zero.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int64
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn.functional import cosine_similarity

from probes.classifier import fit_classifier
from probes.sparse_probing import best_columns

GAIN, MOST = 0.03, 10
COSINE, SHARE = 0.025, 0.4


class Absorption(NamedTuple):
    """What was found of a concept.

    `own` are its latents (1), `f1` is how well they tell it, and `rate` is (4) over `true_positives` rows (NaN if there
    are none).
    """

    own: Int64[Tensor, " k"]
    f1: float
    rate: float
    true_positives: int


def own_latents(
    f: Float[Tensor, "n d_sae"], y: Bool[Tensor, " n"], held_out: Bool[Tensor, " n"]
) -> tuple[Int64[Tensor, " k"], float]:
    """The latents of a concept (1), chosen and fitted on the training rows.

    Args:
        f: features, `[n, d_sae]`.
        y: which rows have the concept, `[n]`.
        held_out: which rows are judged and not fitted, `[n]`.

    Returns:
        The latents `[k]`, the best first, and their F1 on the held-out rows.
    """
    order = best_columns(f[~held_out], y[~held_out], MOST)
    score = _f1(f[:, order[:1]], y, held_out)
    for k in range(1, len(order)):
        better = _f1(f[:, order[: k + 1]], y, held_out)
        if better - score < GAIN:
            return order[:k], score
        score = better
    return order, score


def absorption(
    x: Float[Tensor, "n d"],
    f: Float[Tensor, "n d_sae"],
    W_dec: Float[Tensor, "d_sae d"],
    y: Bool[Tensor, " n"],
    held_out: Bool[Tensor, " n"],
) -> Absorption:
    """How often a concept is absorbed, measured on the held-out rows.

    Args:
        x: rows, `[n, d]`. They may be means over rows (`saes.pooling`).
        f: their features, `[n, d_sae]`.
        W_dec: the decoder, `[d_sae, d]`.
        y: which rows have the concept, `[n]`.
        held_out: which rows are judged and not fitted, `[n]`; both sides need rows of both kinds.

    Returns:
        The concept's own latents, their F1, and the rate.
    """
    own, f1 = own_latents(f, y, held_out)
    probe = fit_classifier(x[~held_out], y[~held_out])
    told = held_out & y & probe.says(x)
    direction = (probe.weight / probe.weight.norm()).to(f)
    background = f[~held_out & ~y].mean(0)
    absorbed = is_absorbed(f[told], background, W_dec, direction, own)
    rate = float(absorbed.double().mean()) if len(absorbed) else float("nan")
    return Absorption(own, f1, rate, int(told.sum()))  # (4)


def is_absorbed(
    f: Float[Tensor, "n d_sae"],
    background: Float[Tensor, " d_sae"],
    W_dec: Float[Tensor, "d_sae d"],
    direction: Float[Tensor, " d"],
    own: Int64[Tensor, " k"],
) -> Bool[Tensor, " n"]:
    """(3) for rows on which the probe tells the concept.

    Args:
        f: features, `[n, d_sae]`.
        background: mean features of rows without the concept, `[d_sae]`.
        W_dec: the decoder, `[d_sae, d]`.
        direction: the probe's unit direction, `[d]`.
        own: the concept's own latents, `[k]`.

    Returns:
        `[n]`.
    """
    contribution = (f - background) * (W_dec @ direction)  # (2)
    total = contribution.sum(1)
    largest, where = contribution.max(1)
    aligned = cosine_similarity(W_dec[where], direction[None], dim=1) >= COSINE
    return (f[:, own] == 0).all(1) & aligned & (total > 0) & (largest >= SHARE * total)


def _f1(f: Float[Tensor, "n k"], y: Bool[Tensor, " n"], held_out: Bool[Tensor, " n"]) -> float:
    said = fit_classifier(f[~held_out], y[~held_out]).says(f[held_out])
    return float(f1_score(y[held_out].numpy(), said.numpy(), zero_division=0.0))
