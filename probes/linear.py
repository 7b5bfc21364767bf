"""Linear probes, and LEACE: the smallest affine edit after which no linear probe beats a constant.

LEACE (Belrose et al. 2023, arXiv:2306.03819). x are rows, z their labels (a column for yes and
no, one-hot columns for several classes), μ = E x, Σ = Cov(x), Σxz = Cov(x, z):
    (1)  r(x) = x − W⁺ P W (x − μ),   W = (Σ^½)⁺,   P the orthogonal projection onto the columns of W Σxz
    (2)  Cov(r(x), z) = 0: no linear predictor of z beats a constant, by squares or, for classes, by any convex loss
    (3)  r has the least E ‖r(x) − x‖²_M among affine maps with (2), for every positive semidefinite M at once
(2) needs no more of Σ than that the columns of Σxz lie in its span, so it may be a shrunk estimate, which has an
inverse where the rows are fewer than the dimensions. (2) holds for the rows that were fitted; on others, measure it.
The probes themselves are those of `probes.classifier`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.classifier import fit_classifier
from saes.errors import WorkbenchError

NOTHING = 1e-9  # correlations below are rounding: labels that say nothing, or columns that follow from the others


@dataclass(frozen=True, eq=False)
class Eraser:
    """The map (1), an affine projection: erasing twice is erasing once. float64; `left @ right` is W⁺PW."""

    mean: Float[Tensor, " d"]
    left: Float[Tensor, "d rank"]
    right: Float[Tensor, "rank d"]

    def __call__(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Rows without the concept, in the rows' own dtype."""
        return (x - (x.double() - self.mean) @ self.right.mT @ self.left.mT).to(x.dtype)  # (1)


def leace(x: Float[Tensor, "n d"], z: Float[Tensor, "n k"], covariance: Float[Tensor, "d d"] | None = None) -> Eraser:
    """Fits (1) to rows and their labels. Labels that say nothing of the rows give the identity (rank 0).

    Args:
        x: rows, `[n, d]`, two or more.
        z: labels, `[n, k]`: a column for yes and no, one-hot columns for several classes.
        covariance: an estimate of Σ that knows more than the rows do, `[d, d]`; None: that of the rows.

    Returns:
        The eraser.

    Raises:
        WorkbenchError: rows or labels are not finite, or there are fewer than two rows.
    """
    x, z = x.double(), z.double()
    if len(x) < 2 or not (x.isfinite().all() and z.isfinite().all()):
        raise WorkbenchError("The eraser needs at least two rows, all of them finite.", "Check the activations.")
    mean, labels = x.mean(dim=0), z - z.mean(dim=0)
    centred = x - mean
    sigma = centred.mT @ centred / len(x) if covariance is None else covariance.double()
    whitening, colouring = _roots(sigma)
    columns, strength, _ = torch.linalg.svd(whitening @ (centred.mT @ labels / len(x)), full_matrices=False)
    said = columns[:, strength > NOTHING * labels.std(dim=0, correction=0).max()]  # P = said saidᵀ
    return Eraser(mean, colouring @ said, said.mT @ whitening)


def _roots(sigma: Float[Tensor, "d d"]) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """W and W⁺."""
    values, vectors = torch.linalg.eigh(sigma)
    spanned = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    roots, basis = values[spanned].sqrt(), vectors[:, spanned]
    return basis / roots @ basis.mT, basis * roots @ basis.mT


def held_out_hits(
    x: Float[Tensor, "n d"],
    y: Bool[Tensor, " n"],
    groups: Int[Tensor, " n"],
    *,
    fitted: Float[Tensor, "n d"] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Bool[Tensor, " n"]:
    """Which rows a logistic probe gets right that was fitted without their fold.

    Args:
        x: rows, `[n, d]`.
        y: the two classes, `[n]`; the complement of every fold must hold both.
        groups: number of each row's group, `[n]`; a group lies in one fold.
        fitted: other activations of the same rows, to fit to in place of `x`: do their probes still hold for x?
        folds: number of folds; with fewer groups, each group is a fold.
        seed: seed of the folds.

    Returns:
        `[n]`.
    """
    fold, known = split(groups, folds, seed), x if fitted is None else fitted
    hits = torch.empty_like(y)
    for number in fold.unique():
        out = fold == number
        hits[out] = fit_classifier(known[~out], y[~out]).says(x[out]) == y[out]
    return hits


def split(groups: Int[Tensor, " n"], parts: int, seed: int) -> Int[Tensor, " n"]:
    """Draws parts of equally many whole groups, as far as that can be.

    Args:
        groups: number of each row's group, `[n]`.
        parts: number of parts.
        seed: seed of the draw.

    Returns:
        The part of each row, 0 … parts − 1, `[n]`.
    """
    found, where = groups.unique(return_inverse=True)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return (order % parts)[where]
