"""Controls for an edit: the same machinery without a change, and the same change to features that should not matter."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.activation import ActivationEdit

NEAREST = 8  # a feature's stand-in is drawn among this many of the nearest density


def no_op_like(edit: ActivationEdit) -> ActivationEdit:
    """An edit at the same site that changes nothing: images must be equal bit for bit to those of the model itself."""
    return replace(edit, program="identity", tensors={}, settings={}, method="no-op")


def random_features_like(
    edit: ActivationEdit, *, seed: int = 0, density: Float[Tensor, " d_sae"] | None = None
) -> ActivationEdit:
    """The same edit on as many other features, each drawn among those that fire about as often as the one it replaces.

    Whatever decides when the edit acts stays as it is, so both act on the same prompts and differ in the features
    alone. `density` is the share of rows on which each feature fires, by default over the prompts of the fit. Raises
    `WorkbenchError` if the edit is of no features, or too few others ever fire.
    """
    if "features" not in edit.tensors:
        raise WorkbenchError(f"A {edit.method} edit has no features to exchange.", "Use another control for it.")
    fires = edit.tensors.get("density") if density is None else density
    if fires is None:
        raise WorkbenchError(f"The {edit.method} edit does not say how often features fire.", "Pass the density.")
    own = edit.tensors["features"]
    tensors = {**edit.tensors, "features": matched_features(own, fires, seed)}
    tensors.setdefault("gate_features", own)
    return replace(edit, tensors=tensors, method=f"random features like {edit.method}", seed=seed)


def matched_features(
    features: Int64[Tensor, " found"], density: Float[Tensor, " d_sae"], seed: int
) -> Int64[Tensor, " found"]:
    """As many other features, one for each, none twice, all of which fire sometimes. Sorted."""
    generator = torch.Generator().manual_seed(seed)
    density = density.cpu().double()
    shuffled = torch.randperm(len(density), generator=generator)  # features of equal density come in random order
    free = shuffled[(density[shuffled] > 0) & ~torch.isin(shuffled, features.cpu())]
    if len(free) < len(features):
        raise WorkbenchError(
            f"Only {len(free)} other features ever fire, and {len(features)} are needed.",
            "Pass the density over more prompts.",
        )
    drawn = []
    for feature in features.tolist():
        distance = (density[free] - density[feature]).abs()
        near = distance.topk(min(NEAREST, len(free)), largest=False).indices
        pick = near[torch.randint(len(near), (), generator=generator)]
        drawn.append(free[pick])
        free = torch.cat([free[:pick], free[pick + 1 :]])
    return torch.stack(drawn).sort().values if drawn else features
