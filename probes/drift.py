"""How far activations lie from where real ones lie: what an edit writes may be nothing that a model ever makes.

    (1)  D(x) = √((x − μ)ᵀ Σ⁻¹ (x − μ))                       Mahalanobis distance
    (2)  Σ = (1 − λ) S + λ (tr S / d) I                       S the rows' covariance, λ as Ledoit & Wolf (2004)
    (3)  share beyond q = share of rows with D(x) > the q-quantile of D over real rows that were held out
Distances are large where a direction hardly varies among real rows, however short the step; (3) says how unusual they
are without any assumption on the shape of the cloud. Held-out rows, since those that gave Σ lie too close to it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saes.errors import WorkbenchError

HELD_OUT = 0.25  # share of the groups of rows that give the reference distribution


@dataclass(frozen=True, eq=False)
class DriftMeter:
    """The cloud of real rows. All in float64.

    `mean` is μ, `whitening` is Σ^(−½), and `reference` are the distances of real rows that were held out, ascending.
    """

    mean: Float[Tensor, " d"]
    whitening: Float[Tensor, "d d"]
    reference: Float[Tensor, " held_out"]

    @classmethod
    def fit(cls, rows: Float[Tensor, "n d"], *, groups: Int[Tensor, " n"] | None = None, seed: int = 0) -> "DriftMeter":
        """Learns the cloud from real rows; a quarter of them is held out.

        Args:
            rows: real rows, `[n, d]`.
            groups: number of each row's group (a prompt), `[n]`. Rows of a group are alike, so they stay on one side
                of the cut. None: each row is its own group.
            seed: seed of what is held out.

        Returns:
            The meter.

        Raises:
            WorkbenchError: there are fewer than four groups, or rows are not finite.
        """
        if not torch.isfinite(rows).all():
            raise WorkbenchError("Some rows are not finite.", "Use a model that does not overflow (float32).")
        groups = torch.arange(len(rows)) if groups is None else groups.cpu()
        found = groups.unique()
        if len(found) < 4:
            raise WorkbenchError(f"{len(found)} prompts are too few to know real activations by.", "Give more.")
        drawn = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))]
        out = torch.isin(groups, drawn[: max(1, round(HELD_OUT * len(found)))])
        known = rows[~out].double().cpu()
        mean, whitening = known.mean(dim=0), inverse_root(shrunk_covariance(known))
        reference = ((rows[out].double().cpu() - mean) @ whitening).norm(dim=1)
        return cls(mean, whitening, reference.sort().values)

    def distance(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """(1) of each row.

        Args:
            rows: rows, `[n, d]`.

        Returns:
            Distances `[n]` in standard deviations; about √d for a real row.
        """
        return ((rows.double().cpu() - self.mean) @ self.whitening).norm(dim=1)

    def share_beyond(self, rows: Float[Tensor, "n d"], quantile: float = 0.99) -> float:
        """(3): how many rows lie farther out than real ones do.

        Args:
            rows: rows, `[n, d]`.
            quantile: the share of real rows that lie within, in [0, 1].

        Returns:
            A share in [0, 1]: about 1 − quantile for real rows, 1 if all lie outside of the cloud.

        Raises:
            WorkbenchError: the quantile lies outside [0, 1].
        """
        return float((self.distance(rows) > self.limit(quantile)).double().mean())

    def limit(self, quantile: float) -> float:
        """The distance that a share of held-out rows does not pass.

        Args:
            quantile: the share, in [0, 1].

        Returns:
            The distance.

        Raises:
            WorkbenchError: the quantile lies outside [0, 1].
        """
        if not 0 <= quantile <= 1:
            raise WorkbenchError(f"{quantile} is no quantile.", "Choose one from 0 to 1.")
        return float(self.reference.quantile(quantile))


def shrunk_covariance(rows: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """(2), with the λ that minimises the expected squared error of Σ (scikit-learn's estimator).

    Args:
        rows: rows, `[n, d]`.

    Returns:
        `[d, d]`.
    """
    from sklearn.covariance import ledoit_wolf  # imported here: it takes a second, and few who import probes measure

    return torch.from_numpy(ledoit_wolf(rows.numpy())[0])


def inverse_root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Σ^(−½). Directions in which the rows do not vary at all count as varying a little.

    A step along them is then far and not infinite.

    Args:
        covariance: Σ, `[d, d]`.

    Returns:
        `[d, d]`.
    """
    values, vectors = torch.linalg.eigh(covariance)
    floor = (values[-1] * torch.finfo(values.dtype).eps * len(values)).clamp(min=torch.finfo(values.dtype).tiny)
    return vectors * values.clamp(min=floor).rsqrt() @ vectors.mT
