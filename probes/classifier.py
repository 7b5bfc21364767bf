"""A logistic probe that gives both classes the same say, however rare one is."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Classifier(NamedTuple):
    """Says yes where x · weight + bias > 0."""

    weight: Float[Tensor, " d"]
    bias: float

    def says(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        return x.double() @ self.weight + self.bias > 0


def fit_classifier(x: Float[Tensor, "n d"], y: Bool[Tensor, " n"], cells: Tensor | None = None) -> Classifier:
    """Logistic regression (L2, C = 1) on columns of unit variance, its weights given for the columns as they are.

    Every class weighs the same or, with `cells` (an integer a row), every cell. Both classes must be there.
    """
    from sklearn.linear_model import LogisticRegression

    x = x.double()
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-9)
    groups = y.long() if cells is None else cells
    weights = len(y) / torch.bincount(groups)[groups] / len(groups.unique())
    fitted = LogisticRegression(max_iter=2000).fit(((x - mean) / scale).numpy(), y.numpy(), weights.numpy())
    weight = torch.from_numpy(fitted.coef_[0]) / scale
    return Classifier(weight, float(fitted.intercept_[0] - weight @ mean))


def balanced_accuracy(said: Bool[Tensor, " n"], y: Bool[Tensor, " n"], cells: Tensor | None = None) -> float:
    """The mean over classes (or `cells`) of the share that is right: 0.5 is chance, however rare a class is."""
    groups = y.long() if cells is None else cells
    right = (said == y).double()
    return float(torch.stack([right[groups == group].mean() for group in groups.unique()]).mean())
