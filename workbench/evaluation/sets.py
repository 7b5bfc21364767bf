"""Metrics of sets of pictures: how far what a condition draws is from what the unedited model draws, as a whole.

They know no concept and no single picture, so they stand beside judges and not among them. Two are members here, on
the features of the run's own judge: KID (Bińkowski et al. 2018, arXiv:1801.01401) and FID (Heusel et al. 2017,
arXiv:1706.08500). x are n features of one set, y m of the other, d wide, μ and Σ their means and covariances:
    (1)  k(a, b) = (a·b/d + 1)³
    (2)  KID = Σ_{i≠j} k(xᵢ, xⱼ)/n(n−1) + Σ_{i≠j} k(yᵢ, yⱼ)/m(m−1) − 2 Σ_{ij} k(xᵢ, yⱼ)/nm
    (3)  FID = ‖μ_x − μ_y‖² + tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½)
(2) is unbiased, so it may fall below 0 for sets that are alike; (3) is not, and falls with n and m. Published figures
use Inception's features and are not comparable with others.
    (4)  the interval is value ± 1.96 s,   s² = (p−1)/p Σ_q (θ_q − θ̄)²,   θ_q the value without prompt q of p
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from saes.errors import WorkbenchError
from workbench.evaluation.judged import judged_by
from workbench.evaluation.results import Pair, Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Trial

Before = Float[np.ndarray, "n d"]
After = Float[np.ndarray, "m d"]


@runtime_checkable
class SetMetric(Protocol):
    """A distance between two sets of pictures by their features."""

    @property
    def name(self) -> str: ...

    def value(self, before: Before, after: After) -> float:
        """The distance; smaller is nearer. The sets may differ in size, and their order does not matter."""
        ...


@dataclass(frozen=True)
class KID:
    """Kernel inception distance, (2), on whatever features it is given."""

    name: str = "kid"

    def value(self, before: Before, after: After) -> float:
        """(2). Raises `WorkbenchError` for a set of fewer than two pictures."""
        if min(len(before), len(after)) < 2:
            raise WorkbenchError("A set of fewer than two pictures has no KID.", "Take a suite with more prompts.")
        x, y = before.astype(np.float64), after.astype(np.float64)
        return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())  # (2)


@dataclass(frozen=True)
class FID:
    """Fréchet distance of two normal distributions, (3), on whatever features it is given."""

    name: str = "fid"

    def value(self, before: Before, after: After) -> float:
        """(3). Raises `WorkbenchError` for a set of fewer than two pictures."""
        if min(len(before), len(after)) < 2:
            raise WorkbenchError("A set of fewer than two pictures has no FID.", "Take a suite with more prompts.")
        x, y = before.astype(np.float64), after.astype(np.float64)
        first, second = (np.cov(one, rowvar=False) for one in (x, y))
        root = _root(first)
        both = np.linalg.eigvalsh(root @ second @ root).clip(0)  # those of Σ_x Σ_y
        apart = np.square(x.mean(0) - y.mean(0)).sum()
        return float(apart + np.trace(first) + np.trace(second) - 2 * np.sqrt(both).sum())  # (3)


def set_metric(run: Run | Results, metric: SetMetric, judge: str = "") -> pd.DataFrame:
    """How far the pictures of each condition are from the unedited model's, over the rows that want a concept present.

    Args:
        run: A finished run, or its results.
        metric: The distance, such as `KID()`.
        judge: Whose features are taken: a name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept and condition but "unedited": metric, value, low and high (95 %, by leaving
        prompts out), n images of `prompts` prompts.

    Raises:
        WorkbenchError: The judge has no features, or a suite has fewer than three prompts of this kind.
    """
    results = Results.of(run, judge)
    images, scores = judged_by(results.run.dir, results.judge_name).by_image()
    if scores.features is None:
        raise WorkbenchError(f"The judge {results.judge_name} has no features.", "Name a judge that has some.")
    features = dict(zip(images, scores.features, strict=True))
    rows = []
    for trial in results.spec.trials:
        for condition in (name for name, edit in trial.conditions.items() if edit is not None):
            about = {"suite": trial.suite, "concept": trial.concept, "condition": condition, "metric": metric.name}
            rows.append({**about, **_measured(metric, _spared(results, trial, condition), features)})
    return pd.DataFrame(rows)


def _spared(results: Results, trial: Trial, condition: str) -> Pair:
    """The rows that want a concept present."""
    pair = results.pair(trial, condition)
    own = pair.after["role"].map(lambda role: results.roles[role].wanted == "present").to_numpy(bool)
    return Pair(pair.after[own], pair.before[own])


def _measured(metric: SetMetric, pair: Pair, features: dict[str, np.ndarray]) -> dict[str, float]:
    prompts, names = pd.factorize(pair.after["prompt"])
    if len(names) < 3:
        raise WorkbenchError(f"{len(names)} prompts are too few for an interval.", "Take a suite with more prompts.")
    before, after = (
        np.stack([features[Path(image).stem] for image in part["image"]]) for part in (pair.before, pair.after)
    )
    value = metric.value(before, after)
    left_out = [metric.value(before[prompts != q], after[prompts != q]) for q in range(len(names))]
    reach = 1.96 * jackknife_error(left_out)
    return {
        "value": value, "low": float(value - reach), "high": float(value + reach), "n": len(after),
        "prompts": len(names),
    }  # fmt: skip


def jackknife_error(left_out: Sequence[float]) -> float:
    """s of (4), from the values that leave out one prompt each."""
    return float(np.sqrt((len(left_out) - 1) * np.var(left_out)))  # (4)


def _kernel(a: Before, b: After) -> Float[np.ndarray, "n m"]:
    return (a @ b.T / a.shape[1] + 1) ** 3  # (1)


def _root(square: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Of a covariance."""
    values, vectors = np.linalg.eigh(square)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _within(x: Before) -> float:
    kernel = _kernel(x, x)
    return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
