"""Writes the feature cache of an autoencoder from what a pass has seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from probes.features import PromptScores, feature_table
from saes.disk import new_folder, write_json, write_tensors
from workbench.activations.autoencoders import strongest
from workbench.concepts import Concept
from workbench.dashboard.cache import ABOUT, ARRAYS, FORMAT
from workbench.dashboard.gathering import N_TOP, Gatherer
from workbench.dashboard.passing import Pass
from workbench.dashboard.prompts import Shown, names_concept
from workbench.dashboard.ranking import spread_of
from workbench.dashboard.sources import Source

N_RELATED, N_WORDS = 8, 5
TELLS = 0.5  # share of a concept's prompts on which a feature must fire to be called after it


def write_cache(seen: Pass, source: Source, concepts: Sequence[Concept], folder: Path) -> None:
    """Writes what a pass has seen of one autoencoder, whole or not at all.

    Args:
        seen: At least one batch of it.
        source: One of its autoencoders.
        concepts: What features are told by.
        folder: A new one.
    """
    gatherer, prompts = seen.gatherers[source], seen.prompts[: seen.done]
    scores = torch.cat(gatherer.scores)
    told = concept_scores(scores, prompts, concepts, strongest(seen.saes[source], None))
    with new_folder(folder) as new:
        _features(gatherer, scores, told).to_parquet(new / "features.parquet", index=False)
        frame = pd.DataFrame(prompts).assign(tokens=list(gatherer.tokens[: seen.done]))
        frame.to_parquet(new / "prompts.parquet", index=False)
        told.to_parquet(new / "concepts.parquet", index=False)
        write_tensors(new / ARRAYS, _arrays(gatherer, scores, seen.pictures))
        about = {
            "format": FORMAT, "site": source.site, "d_sae": gatherer.dictionary.d_sae, "places": gatherer.n_places,
            "cells": gatherer.n_cells, "steps": list(gatherer.timesteps), "n_top": N_TOP, "n_prompts": seen.done,
            "begins": gatherer.begins,
        }  # fmt: skip
        write_json(new / ABOUT, about)


def concept_scores(
    scores: Float[Tensor, "prompts d_sae"], prompts: Sequence[Shown], concepts: Sequence[Concept], m: int
) -> pd.DataFrame:
    """The feature table of each concept that some prompts name and some do not, without features no better than chance.

    Args:
        scores: Of each prompt and feature, `[prompts, d_sae]`, 0 or more.
        prompts: In the same order.
        concepts: What features may tell.
        m: How many features of a prompt count as strong.

    Returns:
        The columns of `FeatureTable`, without the effect.
    """
    pairs = {concept.name: names_concept(prompts, concept) for concept in concepts}
    both = {name: PromptScores(scores[inside], scores[out]) for name, (inside, out) in pairs.items() if inside and out}
    columns = ["concept", "feature", "target_mean", "retain_mean", "target_share", "retain_share", "auc", "in_contrast"]
    if not both:
        return pd.DataFrame(columns=columns)
    frame = feature_table(both, m).frame
    return frame[frame["auc"] > 0.5][columns].reset_index(drop=True)


def _features(gatherer: Gatherer, scores: Float[Tensor, "prompts d_sae"], told: pd.DataFrame) -> pd.DataFrame:
    d_sae = gatherer.dictionary.d_sae
    best = told[told["target_share"] >= TELLS].sort_values("auc", ascending=False).drop_duplicates("feature")
    best = best.set_index("feature").reindex(range(d_sae))
    return pd.DataFrame(
        {
            "feature": range(d_sae),
            "density": gatherer.density.numpy(),
            "mean_active": gatherer.mean_active.numpy(),
            "largest": scores.amax(dim=0).numpy(),
            "fires_on": (scores > 0).sum(dim=0).numpy(),
            "words": gatherer.loudest_words(N_WORDS),
            "concept": best["concept"].fillna("").astype(str).to_numpy(),
            "auc": best["auc"].to_numpy(float),
        }
    )


def _arrays(
    gatherer: Gatherer, scores: Float[Tensor, "prompts d_sae"], pictures: Sequence[UInt8[np.ndarray, "h w 3"]]
) -> Mapping[str, Tensor]:
    (alike, cosine), (together, shared) = gatherer.alike(N_RELATED), gatherer.together(N_RELATED)
    by_step = [total / (gatherer.rows * gatherer.pixels) for total in gatherer.timesteps.values()]
    top, spread = gatherer.top, spread_of(gatherer.drawn, scores)
    arrays = {
        "top_prompts": top.prompts.int(), "top_scores": top.scores.half(), "top_maps": top.maps,
        "spread_prompts": spread.prompts.int(), "spread_scores": spread.scores.half(), "spread_maps": spread.maps,
        "spread_quantiles": spread.quantiles.half(),
        "alike_features": alike.int(), "alike_values": cosine.half(),
        "together_features": together.int(), "together_values": shared.half(),
        "by_step": torch.stack(by_step, dim=1).half() if by_step else torch.zeros(len(alike), 0),
    }  # fmt: skip
    return arrays | ({"pictures": torch.from_numpy(np.stack(pictures))} if pictures else {})
