"""Edits by hand: features of an SAE scaled, set to a value, or added."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError, unknown_name
from saes.files import SAE
from workbench.activations.autoencoders import check_features, check_origin, open_sae, site_of
from workbench.activations.positions import end_token
from workbench.edits.activation import ActivationEdit
from workbench.edits.programs import ACTIONS
from workbench.hooks import Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE

CHANGE_FEATURES = "workbench.edits.programs:CHANGE_FEATURES"
ALWAYS = (1000.0, 0.0)  # the window of a whole denoising


def intervention(
    model: Model,
    sae: SAE | str | Path,
    features: Sequence[int],
    *,
    action: str = "scale",
    strength: float,
    window: tuple[float, float] = ALWAYS,
    concepts: Sequence[str] = (),
) -> ActivationEdit:
    """An edit that changes features by hand and keeps what the SAE does not explain.

    Conditional rows only, never the begin token.

    Args:
        model: The model.
        sae: A folder, a shipped name, or a loaded SAE of this model.
        features: Numbers of its features, at least one.
        action: "scale" multiplies them by `strength` wherever they fire. "clamp" sets them to it, and "add" adds it, at
            all positions of a picture or at the words of a prompt, whether they fire or not.
        strength: s, any finite number.
        window: The highest and the lowest timestep, 1000 (noise) to 0 (picture), both included, at which a picture site
            is changed.
        concepts: The names of what it is about.

    Returns:
        The edit, at the SAE's site.

    Raises:
        WorkbenchError: There are no features or some that the SAE lacks, the SAE is of another model or width, the
            action is unknown, or the window is one that no denoising passes, or belongs to a site without timesteps.
    """
    if action not in ACTIONS:
        raise unknown_name("action", action, ACTIONS)
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model), Dictionary.of(opened)
    _check_window(window, site, model)
    chosen = torch.tensor(sorted(check_features(opened, features)), dtype=torch.int64)
    needs_end = site.component == "prompt" and action != "scale"
    return ActivationEdit(
        site=site.alias, width=site.channels, program=CHANGE_FEATURES,
        tensors={**dictionary.tensors, "features": chosen},
        settings={
            **dictionary.settings, "action": action, "strength": strength, "window": list(window),
            "end": end_token(model, site) if needs_end else None,
        },
        method="intervention", concepts=concepts, base_fingerprint=model.fingerprint,
    )  # fmt: skip


def ablation(
    model: Model, sae: SAE | str | Path, features: Sequence[int], *, strength: float = 0.0, concepts: Sequence[str] = ()
) -> ActivationEdit:
    """An intervention that multiplies features, by 0 unless told otherwise.

    Args:
        model: The model.
        sae: A folder, a shipped name, or a loaded SAE of this model.
        features: Numbers of its features, at least one.
        strength: s, any finite number; 0 takes them out.
        concepts: The names of what it is about.

    Returns:
        The edit, at the SAE's site.

    Raises:
        WorkbenchError: As `intervention` does.
    """
    made = intervention(model, sae, features, action="scale", strength=strength, concepts=concepts)
    return replace(made, method="ablation")


def _check_window(window: tuple[float, float], site: Site, model: Model) -> None:
    highest, lowest = window
    if not ALWAYS[0] >= highest >= lowest >= ALWAYS[1]:
        raise WorkbenchError(
            f"No denoising passes a timestep from {highest:g} down to {lowest:g}.",
            "Give the highest and the lowest timestep, of 1000 (noise) to 0 (picture).",
        )
    if tuple(window) == ALWAYS:
        return
    if site.component == "prompt":
        raise WorkbenchError(
            f"{site.alias!r} is passed once, before the first timestep, so it has no window of timesteps.",
            "Leave the window out, or choose an SAE at a picture site.",
        )
    if AUTOREGRESSIVE in model.capabilities:
        raise WorkbenchError(
            f"{site.alias!r} is passed once for each token, so it has no window of timesteps.", "Leave the window out."
        )
