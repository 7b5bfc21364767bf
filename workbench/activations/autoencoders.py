"""Sparse autoencoders at a model's sites: opened by name, matched to their site, on the model's device."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError, check_at_least
from saes.files import SAE, check_width, load
from workbench.hooks import Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.shipped import sae_folder

FINGERPRINT = re.compile("[0-9a-f]{64}")  # how our SAEs name their model; those of others may say anything


def open_sae(sae: SAE | str | Path) -> SAE:
    """An SAE from a folder or by the name of a shipped one; a loaded SAE is returned as it is."""
    return load(sae_folder(sae)) if isinstance(sae, str | Path) else sae


def check_origin(sae: SAE, model: Model) -> None:
    """Raises `WorkbenchError` if the SAE names the weights that it was trained on, and they are not this model's."""
    trained_on = sae.cfg.metadata.model_name or ""
    if FINGERPRINT.fullmatch(trained_on) and trained_on not in (model.fingerprint, model.identity.origin):
        raise WorkbenchError(
            f"The SAE was trained on a model of other weights than {model.name}.",
            "Its features mean nothing here: train one on this model, or load the one that it belongs to.",
        )


def site_of(sae: SAE, model: Model, side: Literal["prompt", "image"] | None = None) -> Site:
    """The site at which the SAE was trained.

    Args:
        sae: The SAE, whose metadata name the site.
        model: The model that has the site.
        side: What has to pass the site, a prompt or a picture; None: either will do. A language model that writes
            pictures has sites that both pass.

    Raises:
        WorkbenchError: The SAE does not say its site or the model has none like it, its width is another, or only the
            other passes the site.
    """
    alias = sae.cfg.metadata.hook_name
    if not alias:
        raise WorkbenchError("The SAE does not say at which site it was trained.", "Set `hook_name` in its metadata.")
    try:
        site = model.site(alias)
    except WorkbenchError:
        raise WorkbenchError(
            f"The SAE was trained at {alias!r}, which is no site of {model.name}.",
            "Name one of this model; `workbench harvest` and `workbench train` make one.",
        ) from None
    check_width(sae, site.channels, alias)
    if side not in (None, site.component) and AUTOREGRESSIVE not in model.capabilities:
        raise _other_side(site)
    return site


def _other_side(site: Site) -> WorkbenchError:
    if site.component == "image":
        return WorkbenchError(f"The SAE belongs to {site.alias!r}, which no prompt passes.", "Use one at a text site.")
    return WorkbenchError(
        f"{site.alias} is passed before there is a picture, so it knows no steps.",
        "Choose an SAE at a picture site.",
    )


def dictionary_on(sae: SAE, model: Model) -> Dictionary:
    """The SAE's tensors on the model's device."""
    return Dictionary.of(sae).on(model.device)


def check_features(sae: SAE, features: Sequence[int]) -> list[int]:
    """The features, each once, in their order. Raises `WorkbenchError` for none, and for those that the SAE lacks."""
    n, chosen = int(sae.cfg.d_sae), list(dict.fromkeys(int(feature) for feature in features))
    if not chosen:
        raise WorkbenchError("No feature is named.", f"Name at least one, of 0 to {n - 1}.")
    if not all(0 <= feature < n for feature in chosen):
        raise WorkbenchError(f"The SAE has features 0 to {n - 1}.", "Choose among these.")
    return chosen


def strongest(sae: SAE, m: int | None) -> int:
    """How many of a prompt's strongest features count: m, or twice as many as fire on a row (the paper: 128, 64)."""
    if m is not None:
        check_at_least(1, m=m)
        return m
    if not (typical := getattr(sae.cfg, "k", None) or sae.cfg.metadata.l0):
        raise WorkbenchError("The SAE does not say how many features fire on a row.", "Set m.")
    return round(2 * typical)
