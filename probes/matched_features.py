"""Do two dictionaries have the same features for a concept? Matched by what they fire on, and judged elsewhere.

g and h are the strongest activations of the features of both on the same prompts (`features.prompt_scores`). Half of
the prompts choose, the other half judges; r is Pearson's correlation over the prompts of a half.
    (1)  F_c = the features a of the first dictionary whose g_a tells c best from the other prompts (AUC), choosing half
    (2)  b*(a) = argmax_b r(g_a, h_b)                                                                  choosing half
    (3)  agreement(c) = mean over a ∈ F_c of r(g_a, h_b*(a))                                            judging half
    (4)  control(c) = mean over a ∈ F_c and over the other concepts c′ of r(g_a, h_b*(a′)),              judging half
         a′ ∈ F_c′ of the same rank: partners that were matched just as well, to features of something else
Intervals are 95 %, by a bootstrap over the judging prompts, the same draws for (3), (4) and their difference.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from probes.features import selectivity_auc
from probes.statistics import DRAWS, middle_95
from saes.errors import WorkbenchError

LEAST = 2  # prompts of a concept in each half
COLUMNS = (
    "concept", "agreement", "low", "high", "control", "control_low", "control_high", "difference", "difference_low",
    "difference_high", "features", "prompts",
)  # fmt: skip


class Matched(NamedTuple):
    """(1) and (2) by concept: features of the first dictionary, the best first, and the partners of each."""

    features: Int[np.ndarray, "concepts k"]
    partners: Int[np.ndarray, "concepts k"]


def feature_agreement(
    first: Float[np.ndarray, "prompts features"],
    second: Float[np.ndarray, "prompts others"],
    about: pd.DataFrame,
    *,
    per_concept: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """How far features of two dictionaries for each concept agree, beside partners that belong to other concepts.

    Args:
        first: g, `[prompts, features]`, 0 where a feature does not fire.
        second: h, `[prompts, features]`, of the same prompts.
        about: What each prompt is about: a bool column for each concept, a row for each prompt.
        per_concept: How many features of each concept are matched, at least 1.
        seed: Of the halves and of the bootstrap.

    Returns:
        A row for each concept, with `COLUMNS`: (3), (4) and their difference with intervals, the number of features,
        and of judging prompts.

    Raises:
        WorkbenchError: There is one concept alone, a concept has fewer than `LEAST` prompts in a half, or fewer
            features fire than are to be matched.
    """
    if about.shape[1] < 2:
        raise WorkbenchError("One concept alone has no others to be told from.", "Give two or more.")
    chooses = halves(about.to_numpy(bool), seed)
    for name in about:
        if min(about[name][chooses].sum(), about[name][~chooses].sum()) < LEAST:
            raise WorkbenchError(f"Too few prompts are about {name!r}.", f"Give {2 * LEAST} or more.")
    found = matched(first[chooses], second[chooses], about.to_numpy(bool)[chooses], per_concept)
    g, h = first[~chooses].astype(float), second[~chooses].astype(float)
    draws = np.random.default_rng(seed).multinomial(len(g), np.full(len(g), 1 / len(g)), size=DRAWS)
    weights = np.concatenate([np.ones((1, len(g))), draws])  # what was seen, then the resamplings
    rows = []
    for place, name in enumerate(about):
        own, others = found.features[place], np.delete(found.partners, place, axis=0)
        agree = _correlations(g[:, own], h[:, found.partners[place]], weights).mean(axis=1)  # (3)
        control = np.stack([_correlations(g[:, own], h[:, row], weights).mean(axis=1) for row in others]).mean(axis=0)
        rows.append((name, *_told(agree), *_told(control), *_told(agree - control), len(own), len(g)))  # (4)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def halves(about: Bool[np.ndarray, "prompts concepts"], seed: int) -> Bool[np.ndarray, " prompts"]:
    """Which prompts choose: every second of each combination of concepts, in a random order.

    Args:
        about: What each prompt is about.
        seed: Of the order.

    Returns:
        True for half of the prompts.
    """
    order = np.random.default_rng(seed).permutation(len(about))
    order = order[np.lexsort(about[order].T)]  # stable: equal rows stay in their random order, side by side
    chooses = np.zeros(len(about), dtype=bool)
    chooses[order[::2]] = True
    return chooses


def matched(
    g: Float[np.ndarray, "prompts features"],
    h: Float[np.ndarray, "prompts others"],
    about: Bool[np.ndarray, "prompts concepts"],
    k: int,
) -> Matched:
    """(1) and (2).

    Args:
        g: Of the first dictionary, on the choosing prompts.
        h: Of the second.
        about: What each prompt is about.
        k: Features of each concept.

    Returns:
        Features and their partners.

    Raises:
        WorkbenchError: Fewer than k features of either vary over the prompts.
    """
    vary = [scores.std(axis=0) > 0 for scores in (g, h)]
    if min(each.sum() for each in vary) < k:
        raise WorkbenchError(f"Fewer than {k} features tell these prompts apart.", "Match fewer, or give more prompts.")
    features = []
    for column in about.T:
        auc = selectivity_auc(torch.from_numpy(g[column]), torch.from_numpy(g[~column])).numpy()
        features.append(np.argsort(np.where(vary[0], -auc, np.inf), kind="stable")[:k])  # (1)
    chosen = np.stack(features)
    standard = [
        (scores - scores.mean(axis=0)) / np.where(scores.std(axis=0) > 0, scores.std(axis=0), 1) for scores in (g, h)
    ]
    r = standard[0][:, chosen.ravel()].T @ standard[1] / len(g)
    partners = np.where(vary[1], r, -np.inf).argmax(axis=1).reshape(chosen.shape)  # (2)
    return Matched(chosen, partners)


def _correlations(
    a: Float[np.ndarray, "prompts k"], b: Float[np.ndarray, "prompts k"], weights: Float[np.ndarray, "draws prompts"]
) -> Float[np.ndarray, "draws k"]:
    """Pearson's r of each pair of columns, weighted; 0 where one of them does not vary."""
    share = weights / weights.sum(axis=1, keepdims=True)
    mean_a, mean_b = share @ a, share @ b
    covariance = share @ (a * b) - mean_a * mean_b
    variances = np.maximum(share @ a**2 - mean_a**2, 0) * np.maximum(share @ b**2 - mean_b**2, 0)
    return np.divide(covariance, np.sqrt(variances), out=np.zeros_like(covariance), where=variances > 1e-24)


def _told(values: Float[np.ndarray, " draws"]) -> tuple[float, float, float]:
    low, high = middle_95(values[1:])
    return float(values[0]), low, high
