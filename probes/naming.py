"""What features are called: each is tried as a detector of each known factor, and called after the one it detects best.

An item is a prompt (or a picture), and z_f the strongest activation of feature f on it. f says "yes" where it is above
a share of its own largest value, and for a factor y:
    (1)  fires_f,s = z_f > s · max z_f,   s ∈ {0, ¼, ½}
    (2)  precision = |fires ∧ y| / |fires|,   recall = |fires ∧ y| / |y|,   F₁ = 2 |fires ∧ y| / (|fires| + |y|)
s and the factor are those of the best F₁ on one half of the items; what is reported is measured on the other half. All
items of a prompt are in one half: a caption that is drawn twice would otherwise be judged by what was chosen on it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.linear import split
from saes.errors import WorkbenchError

SHARES = (0.0, 0.25, 0.5)  # s


class Detection(NamedTuple):
    """(2) of every feature as a detector of every factor; 0 where nothing fires, or nothing has the factor."""

    precision: Float[Tensor, "features factors"]
    recall: Float[Tensor, "features factors"]
    f1: Float[Tensor, "features factors"]


def detection(fires: Bool[Tensor, "items features"], factors: Bool[Tensor, "items factors"]) -> Detection:
    """How well each feature's firing tells each factor (2).

    Args:
        fires: where each feature fires, `[items, features]`.
        factors: which items have each factor, `[items, factors]`.

    Returns:
        Precision, recall and F₁, each `[features, factors]`.
    """
    both = fires.double().T @ factors.double()
    fired, present = fires.double().sum(0)[:, None], factors.double().sum(0)[None]
    return Detection(both / fired.clamp(min=1), both / present.clamp(min=1), 2 * both / (fired + present).clamp(min=1))


def name_features(
    scores: Float[Tensor, "items features"], factors: pd.DataFrame, prompts: Sequence[str], *, seed: int = 0
) -> pd.DataFrame:
    """The factor that each feature detects best, for the features that fire on both halves of the items.

    Args:
        scores: strongest activation of each feature on each item, `[items, features]`, not negative.
        factors: bool, one line an item, one column a factor.
        prompts: prompt of each item; items of equal prompts stay together.
        seed: seed of the halves, and of the shuffling for the control.

    Returns:
        Columns: feature, factor, share (s), and, on the half that had no part in the choice, precision, recall, f1, and
        control: the f1 of the same procedure with the factors of the items shuffled.

    Raises:
        WorkbenchError: as `check_factors` does.
    """
    check_factors(factors, prompts, seed)
    first, second = _halves(prompts, seed)
    known = torch.tensor(factors.to_numpy(bool))
    chosen = _chosen(scores[first], known[first])
    shuffled = known[np.random.default_rng(seed).permutation(len(known))]
    control = _chosen(scores[first], shuffled[first])
    found = pd.DataFrame(
        {
            "feature": range(scores.shape[1]),
            "factor": [factors.columns[place] for place in chosen.factor.tolist()],
            "share": chosen.threshold_share.numpy(),
            **_measured(scores[second], known[second], chosen),
            "control": _measured(scores[second], shuffled[second], control)["f1"],
        }
    )
    fires = (scores[first] > 0).any(0) & (scores[second] > 0).any(0)
    return found[fires.numpy()].reset_index(drop=True)


def check_factors(factors: pd.DataFrame, prompts: Sequence[str], seed: int) -> None:
    """Whether factors can be chosen on one half of the items and judged on the other. Ask before a model runs.

    Args:
        factors: bool, one line an item, one column a factor.
        prompts: prompt of each item.
        seed: seed of the halves.

    Raises:
        WorkbenchError: there are fewer than four items or another number of prompts, or in one half no item has a
            factor or all have it.
    """
    if len(factors) != len(prompts) or len(factors) < 4:
        raise WorkbenchError(f"There are {len(prompts)} items and factors of {len(factors)}.", "Give four or more.")
    if not len(factors.columns):
        raise WorkbenchError("There are no factors.", "Give a column for each.")
    for half in _halves(prompts, seed):
        for name, values in factors[half.numpy()].items():
            if not values.any() or values.all():
                raise WorkbenchError(
                    f"In one half of the items, {'every' if values.all() else 'no'} one has the factor {name!r}.",
                    "Give more items, or leave the factor out.",
                )


def judgeable(factors: pd.DataFrame, prompts: Sequence[str], seed: int) -> pd.DataFrame:
    """The factors that `check_factors` takes; the others are too rare for so few items.

    Args:
        factors: bool, one line an item, one column a factor.
        prompts: prompt of each item.
        seed: seed of the halves.

    Returns:
        Some of the columns.
    """
    halves = [factors[half.numpy()] for half in _halves(prompts, seed)]
    return factors.loc[:, [all(0 < half[name].sum() < len(half) for half in halves) for name in factors]]


def _halves(prompts: Sequence[str], seed: int) -> tuple[Bool[Tensor, " items"], Bool[Tensor, " items"]]:
    """The items on which factors are chosen, and those on which they are judged."""
    number = torch.from_numpy(pd.factorize(np.array(prompts, dtype=object))[0])
    half = split(number, 2, seed)
    return half == 0, half == 1


class _Chosen(NamedTuple):
    """Of each feature: the factor, and the s and the activation above which it says "yes"."""

    factor: Tensor
    threshold_share: Tensor
    threshold: Tensor


def _chosen(scores: Float[Tensor, "items features"], known: Bool[Tensor, "items factors"]) -> _Chosen:
    largest = scores.amax(0)
    f1 = torch.stack([detection(scores > share * largest, known).f1 for share in SHARES])  # (1)
    best, factor = f1.max(dim=2)
    place = best.argmax(dim=0)
    share = torch.tensor(SHARES)[place]
    return _Chosen(factor.gather(0, place[None])[0], share, share * largest)


def _measured(
    scores: Float[Tensor, "items features"], known: Bool[Tensor, "items factors"], chosen: _Chosen
) -> dict[str, np.ndarray]:
    found = detection(scores > chosen.threshold, known)
    return {
        name: getattr(found, name).gather(1, chosen.factor[:, None])[:, 0].numpy()
        for name in ("precision", "recall", "f1")
    }
