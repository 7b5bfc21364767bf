"""How good an SAE is. All sums run over the whole set of rows, in float64, one batch at a time.

    (1)  L0  =  mean over rows of the number of latents ≠ 0
    (2)  explained variance  =  1 − Σ‖x − x̂‖² / Σ‖x − x̄‖²,   x̄ the mean of the whole set
    (3)  loss recovered  =  (ablated − substituted) / (ablated − clean)

(2) is not the mean of per-row or per-batch ratios that some logs print: those reward rows of large variance less.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from saes.files import SAE, check_rebuilds

DENSE = 0.1  # a latent that fires on more than this share of rows is called dense


@dataclass(frozen=True)
class SAEMetrics:
    """Figures of an SAE on `rows` rows. A latent is dead if it fired on none of *these* rows, so state their number.

    `l0` is (1), `explained_variance` (2). `dead_share` and `dense_share` are shares of latents in [0, 1].
    """

    rows: int
    l0: float
    explained_variance: float
    cosine: float  # mean over rows of cos(x, x̂)
    norm_ratio: float  # mean over rows of ‖x̂‖ / ‖x‖: below 1, the SAE shrinks
    dead_share: float
    dense_share: float
    density: Float[Tensor, " d_sae"]  # share of rows on which each latent fires

    def numbers(self) -> dict[str, float | int]:
        """Everything but the density.

        Returns:
            Number by name, ready for JSON.
        """
        return {name: value for name, value in asdict(self).items() if name != "density"}


@torch.no_grad()
def evaluate_sae(sae: SAE, batches: Iterable[Float[Tensor, "_ d"]]) -> SAEMetrics:
    """Runs all rows through an SAE once.

    Args:
        sae: a sae-lens SAE.
        batches: rows `[n, d]`.

    Returns:
        The figures.

    Raises:
        WorkbenchError: no two rows differ, or the SAE does not rebuild what it takes.
    """
    check_rebuilds(sae)
    sums = _Sums()
    for batch in batches:
        rows = batch.to(sae.W_dec.device, torch.float32)
        features = sae.encode(rows)
        sums.add(rows.double(), sae.decode(features).double(), (features != 0).sum(0))
    return sums.metrics()


@torch.no_grad()
def evaluate_groups(
    sae: SAE,
    blocks: Iterable[tuple[Float[Tensor, "_ d"], Mapping[str, Tensor]]],
    label: str,
    groups: Mapping[str, Collection[int]],
) -> dict[str, SAEMetrics]:
    """The figures of groups of rows, such as those of one sort of token, in one pass.

    Args:
        sae: a sae-lens SAE.
        blocks: rows `[n, d]` with their labels, as of `ActivationStore.blocks`.
        label: the column that tells the groups.
        groups: by name, the values of the label that belong to it; they may overlap.

    Returns:
        Figures by name, each about the mean of its own rows. Groups without two different rows are left out.

    Raises:
        WorkbenchError: the SAE does not rebuild what it takes.
    """
    check_rebuilds(sae)
    sums = {name: _Sums() for name in groups}
    for block, labels in blocks:
        rows = block.to(sae.W_dec.device, torch.float32)
        features = sae.encode(rows)
        rebuilt = sae.decode(features).double()
        for name, values in groups.items():
            own = torch.isin(labels[label].to(rows.device), torch.tensor(list(values), device=rows.device))
            if own.any():
                sums[name].add(rows[own].double(), rebuilt[own], (features[own] != 0).sum(0))
    return {name: each.metrics() for name, each in sums.items() if each.variance > 0}


class _Sums:
    """Running sums over rows. Squares are taken about the first batch's mean, so that a large mean cancels nothing."""

    def __init__(self) -> None:
        self.rows = 0
        self.error = self.cosine = self.norm_ratio = self.squares = 0.0
        self.shift: Any = None

    def add(
        self, x: Float[Tensor, "n d"], reconstruction: Float[Tensor, "n d"], fired: Int64[Tensor, " d_sae"]
    ) -> None:
        if self.shift is None:
            self.shift, self.offset, self.fired = x.mean(0), torch.zeros_like(x[0]), torch.zeros_like(fired)
        self.rows += len(x)
        self.fired += fired
        self.error += float((x - reconstruction).square().sum())
        self.squares += float((x - self.shift).square().sum())
        self.offset += (x - self.shift).sum(0)
        self.cosine += float(torch.cosine_similarity(x, reconstruction, dim=-1).sum())
        self.norm_ratio += float((reconstruction.norm(dim=-1) / x.norm(dim=-1).clamp_min(1e-12)).sum())

    @property
    def variance(self) -> float:
        return self.squares - float(self.offset.square().sum()) / self.rows if self.rows else 0.0

    def metrics(self) -> SAEMetrics:
        variance = self.variance
        if not variance > 0:
            raise WorkbenchError("There are no two different rows to evaluate the SAE on.", "Harvest more prompts.")
        density = self.fired.double() / self.rows
        return SAEMetrics(
            rows=self.rows,
            l0=float(density.sum()),  # (1)
            explained_variance=1 - self.error / variance,  # (2)
            cosine=self.cosine / self.rows,
            norm_ratio=self.norm_ratio / self.rows,
            dead_share=float((self.fired == 0).double().mean()),
            dense_share=float((density > DENSE).double().mean()),
            density=density.float().cpu(),
        )


def density_histogram(
    density: Float[Tensor, " d_sae"], bins: int = 50, lowest: float = -6.0
) -> tuple[Int64[Tensor, " bins"], Float[Tensor, " edges"]]:
    """Counts latents by log₁₀ of their density. Latents below the first bin, dead ones too, are counted in it.

    Args:
        density: share of rows on which each latent fires, in [0, 1], `[d_sae]`.
        bins: number of bins of equal width.
        lowest: log₁₀ of the smallest density, < 0.

    Returns:
        Counts `[bins]` and edges `[bins + 1]` from `lowest` to 0.
    """
    edges = torch.linspace(lowest, 0.0, bins + 1)
    position = (density.clamp_min(1e-30).log10().clamp(lowest, 0.0) - lowest) / -lowest * bins
    return torch.bincount(position.long().clamp_max(bins - 1), minlength=bins), edges


def loss_recovered(clean: float, substituted: float, ablated: float) -> float:
    """The share of the loss caused by an ablation that the SAE's reconstruction avoids.

    Args:
        clean: the model's loss as it is.
        substituted: its loss with the reconstruction in the site's place.
        ablated: its loss with the mean of the data in the site's place.

    Returns:
        1: as good as the site itself; 0: no better than the ablation; below 0: worse.

    Raises:
        WorkbenchError: the ablation changes nothing, so that the site does not matter for this loss.
    """
    if ablated == clean:
        raise WorkbenchError("Ablating the site does not change the loss.", "Measure at a site that the loss reads.")
    return (ablated - substituted) / (ablated - clean)  # (3)


@dataclass(frozen=True)
class SubstitutionLosses:
    """The model's loss with the site as it is, with the SAE's reconstruction, and with the mean of the data."""

    clean: float
    substituted: float
    ablated: float

    @property
    def recovered(self) -> float:
        """`loss_recovered` of the three."""
        return loss_recovered(self.clean, self.substituted, self.ablated)


LossWith = Callable[[Callable[[Tensor], Tensor] | None], float]
"""Runs the model with the site's activations `[..., d]` replaced by what the function makes of them (None: left)."""


def substitution_losses(sae: SAE, mean: Float[Tensor, " d"], loss_with: LossWith) -> SubstitutionLosses:
    """The three losses of one SAE, measured in the order of their names.

    Args:
        sae: a sae-lens SAE.
        mean: mean of the site's rows, `[d]`.
        loss_with: runs the model with the site's activations replaced by a function of them.

    Returns:
        The losses.
    """
    return losses_of_several({"": sae}, mean, loss_with)[""]


def losses_of_several(
    saes: Mapping[str, SAE], mean: Float[Tensor, " d"], loss_with: LossWith
) -> dict[str, SubstitutionLosses]:
    """The losses of several SAEs of one site. The site left alone and ablated are measured once for all.

    Args:
        saes: sae-lens SAEs by name.
        mean: mean of the site's rows, `[d]`.
        loss_with: runs the model with the site's activations replaced by a function of them.

    Returns:
        The losses of each SAE by its name.
    """
    clean = loss_with(None)
    substituted = {name: loss_with(_reconstruction(sae)) for name, sae in saes.items()}
    ablated = loss_with(lambda x: mean.to(x).expand_as(x))
    return {name: SubstitutionLosses(clean, loss, ablated) for name, loss in substituted.items()}


def _reconstruction(sae: SAE) -> Callable[[Tensor], Tensor]:
    return lambda x: sae.decode(sae.encode(x.to(sae.dtype))).to(x.dtype)
