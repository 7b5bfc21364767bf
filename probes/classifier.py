"""A logistic probe that gives both classes the same say, however rare one is."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Classifier(NamedTuple):
    """A linear probe. It says yes where x · weight + bias > 0."""

    weight: Float[Tensor, " d"]
    bias: float

    def says(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """What the probe says of rows.

        Args:
            x: rows, `[n, d]`.

        Returns:
            `[n]`.
        """
        return x.double() @ self.weight + self.bias > 0


def fit_classifier(x: Float[Tensor, "n d"], y: Bool[Tensor, " n"], cells: Tensor | None = None) -> Classifier:
    """Logistic regression (L2, C = 1) on columns of unit variance, its weights given for the columns as they are.

    Args:
        x: rows, `[n, d]`.
        y: the two classes, `[n]`; both must be there.
        cells: an integer a row, `[n]`: every cell weighs the same. None: every class does.

    Returns:
        The probe, in float64.
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
    """The mean over classes of the share that is right: 0.5 is chance, however rare a class is.

    Args:
        said: what a probe says, `[n]`.
        y: what is true, `[n]`.
        cells: an integer a row, `[n]`: the mean is over cells. None: over classes.

    Returns:
        A share in [0, 1].
    """
    groups = y.long() if cells is None else cells
    right = (said == y).double()
    return float(torch.stack([right[groups == group].mean() for group in groups.unique()]).mean())
