"""Builds the feature caches of a run: one pass of the prompts serves all autoencoders that have none yet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from probes.features import PromptScores, feature_table
from saes.disk import new_folder, write_json, write_tensors
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of, strongest
from workbench.activations.reading import Reading, makes_pictures, read_batch
from workbench.concepts import Concept
from workbench.dashboard.cache import ABOUT, ARRAYS, FORMAT
from workbench.dashboard.gathering import N_TOP, Gatherer
from workbench.dashboard.prompts import Shown, names_concept
from workbench.dashboard.sources import Source
from workbench.evaluation.spec import Settings
from workbench.hooks import Place, Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE

N_RELATED, N_WORDS = 8, 5
TEXT_BATCH, IMAGE_BATCH = 16, 8
SIDE = 160  # pixels of a stored picture, as many as a card shows
TELLS = 0.5  # share of a concept's prompts on which a feature must fire to be called after it


def build_caches(
    model: Model,
    wanted: Mapping[Source, Path],
    prompts: Sequence[Shown],
    concepts: Sequence[Concept],
    settings: Settings,
    *,
    progress: Progress = SILENT,
) -> None:
    """Writes the cache of each SAE to its folder, each whole or not at all.

    All text sites share one encoding of the prompts and all others the making of one set of pictures.

    Args:
        model: The run's.
        wanted: The folder of each SAE.
        prompts: What the features are shown on.
        concepts: What features are told by.
        settings: How pictures are sampled.
        progress: Shows batches and tables.

    Raises:
        WorkbenchError: An SAE is of another model, does not fit its site, or is not linear in its input (see
            `Dictionary.of`).
    """
    saes = {source: open_sae(source.folder) for source in wanted}
    for sae in saes.values():
        check_origin(sae, model)
    tokens = [row.words for row in model.tokens([shown.prompt for shown in prompts])]
    places = {source: site_of(sae, model) for source, sae in saes.items()}
    for drawing in (False, True):
        sites = {source: site for source, site in places.items() if makes_pictures([site]) == drawing}
        if sites:
            gatherers = {source: _gatherer(model, saes[source], site, tokens) for source, site in sites.items()}
            pictures = _observe(model, sites, gatherers, prompts, settings, progress)
            for source, gatherer in progress(gatherers.items(), "feature tables"):
                with new_folder(wanted[source]) as folder:
                    _write(folder, source, saes[source], gatherer, prompts, tokens, concepts, pictures)


def _gatherer(model: Model, sae: SAE, site: Site, tokens: Sequence[Sequence[str]]) -> Gatherer:
    dictionary = dictionary_on(sae, model)
    if not makes_pictures([site]):
        return Gatherer(dictionary, site.positions, 0, tokens)
    if AUTOREGRESSIVE in model.capabilities:  # the prompt passes the site too
        return Gatherer(dictionary, max(map(len, tokens)), site.positions, tokens)
    return Gatherer(dictionary, 0, site.positions)


def _observe(
    model: Model,
    sites: Mapping[Source, Site],
    gatherers: Mapping[Source, Gatherer],
    prompts: Sequence[Shown],
    settings: Settings,
    progress: Progress,
) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Runs the prompts batch by batch through whatever calls the sites; returns the small pictures, if any."""
    drawing = makes_pictures(sites.values())
    size = IMAGE_BATCH if drawing else TEXT_BATCH
    small: list[UInt8[np.ndarray, "h w 3"]] = []

    def take(reading: Reading) -> None:
        for source, gatherer in gatherers.items():
            if sites[source].alias == reading.site.alias:
                pictured = reading.places == Place.PICTURE
                gatherer.see(reading.x, reading.content, reading.position, pictured, reading.timestep)

    for start in progress(range(0, len(prompts), size), f"features on {'pictures' if drawing else 'prompts'}"):
        batch = prompts[start : start + size]
        for gatherer in gatherers.values():
            gatherer.begin(len(batch))
        texts, seeds = [shown.prompt for shown in batch], [shown.seed for shown in batch]
        made = read_batch(model, set(sites.values()), texts, take, seeds=seeds, first=start, **settings)
        small += [_small(image) for image in made]
        for gatherer in gatherers.values():
            gatherer.end()
    return small


def _small(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "small_h small_w 3"]:
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(picture)


def _write(
    folder: Path,
    source: Source,
    sae: SAE,
    gatherer: Gatherer,
    prompts: Sequence[Shown],
    tokens: Sequence[Sequence[str]],
    concepts: Sequence[Concept],
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
) -> None:
    scores = torch.cat(gatherer.scores)
    told = concept_scores(scores, prompts, concepts, strongest(sae, None))
    features = _features(gatherer, scores, told)
    features.to_parquet(folder / "features.parquet", index=False)
    pd.DataFrame(prompts).assign(tokens=list(tokens)).to_parquet(folder / "prompts.parquet", index=False)
    told.to_parquet(folder / "concepts.parquet", index=False)
    write_tensors(folder / ARRAYS, _arrays(gatherer, pictures))
    about = {
        "format": FORMAT, "site": source.site, "d_sae": gatherer.dictionary.d_sae, "places": gatherer.n_places,
        "cells": gatherer.n_cells, "steps": list(gatherer.timesteps), "n_top": N_TOP, "n_prompts": len(prompts),
    }  # fmt: skip
    write_json(folder / ABOUT, about)


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
            "words": gatherer.loudest_words(N_WORDS),
            "concept": best["concept"].fillna("").astype(str).to_numpy(),
            "auc": best["auc"].to_numpy(float),
        }
    )


def _arrays(gatherer: Gatherer, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> dict[str, Tensor]:
    (alike, cosine), (together, shared) = gatherer.alike(N_RELATED), gatherer.together(N_RELATED)
    by_step = [total / (gatherer.rows * gatherer.pixels) for total in gatherer.timesteps.values()]
    arrays = {
        "top_prompts": gatherer.top_prompts.int(), "top_scores": gatherer.top_scores.half(),
        "top_maps": gatherer.top_maps, "alike_features": alike.int(), "alike_values": cosine.half(),
        "together_features": together.int(), "together_values": shared.half(),
        "by_step": torch.stack(by_step, dim=1).half() if by_step else torch.zeros(len(alike), 0),
    }  # fmt: skip
    return arrays | ({"pictures": torch.from_numpy(np.stack(pictures))} if pictures else {})
