"""How good an SAE is on held-out data: what it rebuilds of a store's rows, and what its model loses by it.

Where prompt and picture are one sequence, rows of one site are of several sorts, which an SAE rebuilds unequally well:
a mean over all hides the rarer ones. Each sort is measured about its own mean, and replaced and ablated alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from saes.calibration import moments
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.manifest import split_of
from saes.metrics import SAEMetrics, SubstitutionLosses, evaluate_groups, evaluate_sae
from saes.progress import SILENT, Progress
from saes.store import ActivationStore
from workbench.activations.autoencoders import check_origin, site_of
from workbench.activations.positions import KEPT
from workbench.activations.substitution import several_losses
from workbench.activations.token_losses import token_losses
from workbench.hooks import Place
from workbench.models import Janus, Model
from workbench.models.diffusion.model import as_diffusion

ALL, PLACE = "all", "place"
CLASSES: dict[str, tuple[Place, ...]] = {  # the begin token is one vector in every prompt, and has no variance
    "text": (Place.WORD, Place.TEMPLATE), "begin of image": (Place.END,), "picture cells": (Place.PICTURE,),
}  # fmt: skip
MEASURED = ("rows", "l0", "explained_variance", "cosine", "dead_share")
LOSSES = ("clean", "substituted", "ablated")

Recovering = Callable[[Mapping[str, SAE], str, Float[Tensor, " d"]], dict[str, SubstitutionLosses]]
"""Losses of SAEs of one site, by name: given the SAEs, the site, and the mean that ablates it."""


def fidelity(
    sae: SAE, store: ActivationStore, model: Model | None = None, *, n_prompts: int = 32, progress: Progress = SILENT
) -> pd.DataFrame:
    """Figures of an SAE on the held-out rows of a store, and with a model what its loss recovers.

    Args:
        sae: An SAE of one of the store's sites.
        store: Its rows; those of the validation split are measured.
        model: The model of both; None leaves the losses out.
        n_prompts: Held-out prompts, at most, on whose pictures the losses are measured.
        progress: Shows the losses.

    Returns:
        A row for all positions and one for each sort that the store holds of a joint sequence ("text", "begin of
        image", "picture cells"): positions, rows, l0, explained_variance, cosine, dead_share (of these rows). With a
        model also clean, substituted, ablated and recovered: the loss (cross-entropy in nats a picture token, or the
        denoising loss) with these positions left, rebuilt, or at their mean; NaN where ablation changes nothing.

    Raises:
        WorkbenchError: The store lacks the SAE's site or holds no held-out rows, or the SAE is of another model.
    """
    site = sae.cfg.metadata.hook_name or ""
    store.check_site(site)
    if model is not None:
        check_origin(sae, model)
        site_of(sae, model)
    found = by_place(sae, store, site)
    rows = [{"positions": name, **_numbers(each)} for name, each in found.items()]
    if model is not None:
        losses = _losses(model, sae, store, site, list(found), held_out(store, n_prompts), progress)
        rows = [{**row, **losses[str(row["positions"])]} for row in rows]
    return pd.DataFrame(rows)


def by_place(sae: SAE, store: ActivationStore, site: str) -> dict[str, SAEMetrics]:
    """The figures on held-out rows: of all, and of each sort of position where the store tells them apart.

    Args:
        sae: An SAE of the site.
        store: The store.
        site: One of its sites.

    Returns:
        By name, `ALL` first.

    Raises:
        WorkbenchError: There are no held-out rows.
    """
    whole = evaluate_sae(sae, (block.rows for block in store.blocks(site, split="validation")))
    if PLACE not in store.manifest.sites[site]["labels"]:
        return {ALL: whole}
    return {ALL: whole, **evaluate_groups(sae, store.blocks(site, split="validation"), PLACE, CLASSES)}


def held_out(store: ActivationStore, most: int) -> list[str]:
    """Prompts of the store's validation split, each once.

    Args:
        store: The store.
        most: How many at most.

    Returns:
        In the store's order.
    """
    share = store.manifest.validation_share
    return list(dict.fromkeys(text for text in store.prompts if split_of(text, share) == "validation"))[:most]


def recovering(model: Model, prompts: Sequence[str]) -> Recovering:
    """How losses of SAEs are measured on the model's own pictures of these prompts, which are made here, once.

    Args:
        model: A diffusion model (the denoising loss) or a Janus (the cross-entropy of its tokens, all positions
            replaced).
        prompts: Picture i has the seed i.

    Returns:
        A function for SAEs of one site after the other.
    """
    seeds = range(len(prompts))
    if isinstance(model, Janus):
        codes = model.sample_codes(list(prompts), seeds)
        return lambda saes, site, mean: token_losses(model, saes, site, mean, prompts, codes, at=KEPT["all"])
    diffusion = as_diffusion(model, "The loss recovered")
    images = model.generate(list(prompts), seeds)
    return lambda saes, site, mean: several_losses(diffusion, saes, site, mean, prompts, images)


class _Means(NamedTuple):
    """Of the training rows: of all, and of each sort that there is."""

    whole: Float[Tensor, " d"]
    sorts: dict[str, Float[Tensor, " d"]]


def _losses(
    model: Model,
    sae: SAE,
    store: ActivationStore,
    site: str,
    names: Sequence[str],
    prompts: list[str],
    progress: Progress,
) -> dict[str, dict[str, float]]:
    if not prompts:
        raise WorkbenchError("The store has no held-out prompts.", "Harvest more prompts; a tenth is held out.")
    means = _means(store, site)
    if not isinstance(model, Janus):
        return {ALL: _told(recovering(model, prompts)({"": sae}, site, means.whole)[""])}
    codes = model.sample_codes(prompts, range(len(prompts)))
    stored = [Place(place) for place in store.labels(site)[PLACE].unique().tolist()]
    found = {}
    for name in progress(names, "losses"):
        at, mean = (stored, means.whole) if name == ALL else (CLASSES[name], means.sorts[name])
        found[name] = _told(token_losses(model, {"": sae}, site, mean, prompts, codes, at=at)[""])
    return found


def _means(store: ActivationStore, site: str) -> _Means:
    whole = moments(store.batches(site, 1024)).mean
    totals, counts = (
        {name: torch.zeros(store.width(site), dtype=torch.float64) for name in CLASSES},
        dict.fromkeys(CLASSES, 0),
    )
    if PLACE not in store.manifest.sites[site]["labels"]:
        return _Means(whole, {})
    for rows, labels in store.blocks(site, split="train"):
        for name, places in CLASSES.items():
            own = torch.isin(labels[PLACE], torch.tensor([int(place) for place in places], dtype=labels[PLACE].dtype))
            totals[name] += rows[own].double().sum(0)
            counts[name] += int(own.sum())
    return _Means(whole, {name: (totals[name] / max(counts[name], 1)).float() for name in CLASSES})


def _numbers(metrics: SAEMetrics) -> dict[str, float | int]:
    return {name: getattr(metrics, name) for name in MEASURED}


def _told(losses: SubstitutionLosses) -> dict[str, float]:
    """NaN where the loss does not depend on the site."""
    recovered = float("nan") if losses.ablated == losses.clean else losses.recovered
    return {**{name: getattr(losses, name) for name in LOSSES}, "recovered": recovered}
