"""Sparse autoencoders at a model's sites: opened by name, matched to their site, on the model's device."""

import re
from pathlib import Path
from typing import Any

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.files import SAE, check_width, load
from workbench.hooks import Site
from workbench.models import Model
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


def site_of(sae: SAE, model: Model) -> Site:
    """The site at which the SAE was trained. Raises `WorkbenchError` if it does not say, or its width is another."""
    alias = sae.cfg.metadata.hook_name
    if not alias:
        raise WorkbenchError("The SAE does not say at which site it was trained.", "Set `hook_name` in its metadata.")
    site = model.site(alias)
    check_width(sae, site.channels, alias)
    return site


def dictionary_on(sae: SAE, model: Model) -> Dictionary:
    """The SAE's tensors on the model's device."""
    found = Dictionary.of(sae)
    tensors = {name: tensor.to(model.device) for name, tensor in found.tensors.items()}
    return Dictionary.from_tensors(tensors, found.settings)


def strongest(sae: SAE, m: int | None) -> int:
    """How many of a prompt's strongest features count: m, or twice as many as fire on a row (the paper: 128, 64)."""
    if m is not None:
        return m
    if not (typical := getattr(sae.cfg, "k", None) or sae.cfg.metadata.l0):
        raise WorkbenchError("The SAE does not say how many features fire on a row.", "Set m.")
    return round(2 * typical)


def end_token(model: Model, site: Site) -> int:
    """The id of the token that ends a prompt for this site's encoder. Refuses encoders without a begin token (T5)."""
    tokenizer = tokenizer_of(model, site)
    if tokenizer.bos_token_id is None:
        raise WorkbenchError(
            f"Prompts of {site.alias!r} have no begin token, so their content cannot be told from padding.",
            "Choose a site of a CLIP text encoder.",
        )
    return tokenizer.eos_token_id


def tokenizer_of(model: Model, site: Site) -> Any:
    """The tokenizer of a text site's encoder."""
    return getattr(model.pipe, site.path.split(".")[0].replace("text_encoder", "tokenizer"))
