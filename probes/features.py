"""Which features of a sparse autoencoder carry a concept.

A prompt is described by how strongly each feature fires on it, a concept by what its prompts share and the retain
prompts lack. Scores come from activations alone; only the causal score needs the model, as a function.
    (1)  g_f(p) = max_l z_{l,f}(p)                       over the content tokens l ≥ 1, end of text included
    (2)  F = (∪_{p∈T} Top_m(g(p))) \\ (∪_{r∈R} Top_m(g(r)))    only features with g_f > 0 can be in Top_m
    (3)  AUC_f = P(g_f(t) > g_f(r)) + ½ P(g_f(t) = g_f(r))    t a target prompt, r a retain prompt
    (4)  effect_f = score of the model − score of the model without f
(1) and (2) are ItD's (arXiv:2503.09446, its equations 4 and 5), without the zero features that the official code
lets into Top_m when fewer than m fire.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.feature_table import FeatureTable
from saes.dictionary import Code


class PromptScores(NamedTuple):
    """(1) for the prompts that name a concept, and for those that must stay as they are."""

    target: Float[Tensor, "targets features"]
    retain: Float[Tensor, "retained features"]


@dataclass(frozen=True)
class Causal:
    """How to measure (4): `score(features)` runs the model without these features; () is the untouched model.

    Only the `top` most selective features of each concept are ablated, since each costs a run of the model.
    """

    score: Callable[[Sequence[int]], float]
    top: int = 8


def prompt_scores(
    code: Code, content: Bool[Tensor, "prompts tokens"], n_features: int
) -> Float[Tensor, "prompts features"]:
    """The strongest activation of each feature on each prompt's content tokens: equation (1).

    Args:
        code: what fires on each token, `[prompts, tokens, k]`.
        content: which tokens count, `[prompts, tokens]`.
        n_features: number of features of the SAE.

    Returns:
        `[prompts, n_features]`; 0 where a feature never fires.
    """
    values = (code.values * content[..., None]).flatten(1)
    scores = values.new_zeros(len(values), n_features)
    return scores.scatter_reduce_(1, code.indices.flatten(1), values, "amax")  # (1)


def top_features(scores: Float[Tensor, "prompts features"], m: int) -> Bool[Tensor, "prompts features"]:
    """Marks the strongest features of each prompt.

    Args:
        scores: (1), `[prompts, features]`.
        m: how many of each prompt; fewer where fewer fire.

    Returns:
        `[prompts, features]`.
    """
    values, indices = scores.topk(min(m, scores.shape[1]), dim=1)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, indices, values > 0)


def contrast(
    target: Float[Tensor, "targets features"], retain: Float[Tensor, "retained features"], m: int
) -> Int[Tensor, " found"]:
    """ItD's set of features (2): strong on some target prompt and on no retain prompt.

    Args:
        target: (1) of the target prompts, `[targets, features]`.
        retain: (1) of the retain prompts, `[retained, features]`.
        m: how many features of a prompt count as strong.

    Returns:
        Features, ascending; maybe none.
    """
    found = top_features(target, m).any(dim=0) & ~top_features(retain, m).any(dim=0)  # (2)
    return found.nonzero().flatten()


def selectivity_auc(
    target: Float[Tensor, "targets features"], retain: Float[Tensor, "retained features"]
) -> Float[Tensor, " features"]:
    """How well one feature's score alone tells target from retain prompts (3). Ties count as one half.

    Args:
        target: (1) of the target prompts, `[targets, features]`; at least one prompt.
        retain: (1) of the retain prompts, `[retained, features]`; at least one prompt.

    Returns:
        `[features]` in [0, 1]: 1 always higher, ½ no better than chance.
    """
    ranked = retain.mT.contiguous().sort(dim=1).values
    wanted = target.mT.contiguous()
    below = torch.searchsorted(ranked, wanted, right=False)
    below_or_equal = torch.searchsorted(ranked, wanted, right=True)
    return (below + below_or_equal).to(target.dtype).mean(dim=1) / (2 * retain.shape[0])  # (3)


def causal_scores(score: Callable[[Sequence[int]], float], features: Sequence[int]) -> dict[int, float]:
    """What the model's score loses when each feature alone is taken out (4).

    Args:
        score: runs the model without some features; () is the untouched model. It is called 1 + len(features) times.
        features: the features to take out.

    Returns:
        Loss by feature.
    """
    untouched = score(())
    return {feature: untouched - score((feature,)) for feature in features}  # (4)


def feature_table(
    scores: Mapping[str, PromptScores], m: int, causal: Mapping[str, Causal] | None = None, about: dict | None = None
) -> FeatureTable:
    """A line for each concept and feature that fires on a target prompt, the most selective first.

    Args:
        scores: (1) by concept.
        m: how many features of a prompt count as strong.
        causal: how to measure (4), by concept; concepts without it have NaN.
        about: JSON that is kept with the table: where the numbers come from.

    Returns:
        The table.
    """
    measured = causal or {}
    frames = [_rows(concept, pair, m, measured.get(concept)) for concept, pair in scores.items()]
    return FeatureTable(pd.concat(frames, ignore_index=True), {**(about or {}), "m": m})


def _rows(concept: str, scores: PromptScores, m: int, causal: Causal | None) -> pd.DataFrame:
    target, retain = scores
    features = (target > 0).any(dim=0).nonzero().flatten()
    target, retain = target[:, features], retain[:, features]
    in_contrast = torch.isin(features, contrast(scores.target, scores.retain, m))
    frame = pd.DataFrame(
        {
            "concept": concept,
            "feature": features.numpy(),
            "target_mean": target.mean(dim=0).numpy(),
            "retain_mean": retain.mean(dim=0).numpy(),
            "target_share": (target > 0).float().mean(dim=0).numpy(),
            "retain_share": (retain > 0).float().mean(dim=0).numpy(),
            "auc": selectivity_auc(target, retain).numpy(),
            "in_contrast": in_contrast.numpy(),
        }
    )
    # Equal AUCs are common (features that only target prompts have), so the louder comes first and then the index.
    order = ["in_contrast", "auc", "target_mean", "feature"]
    frame = frame.sort_values(order, ascending=[False, False, False, True], ignore_index=True)
    effects = causal_scores(causal.score, frame.feature[: causal.top].tolist()) if causal else {}
    return frame.assign(effect=frame.feature.map(effects).astype(float))
