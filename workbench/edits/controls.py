"""Controls for an edit: the same machinery without a change, and the same change to features that should not matter."""

from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.activation import ActivationEdit
from workbench.edits.adapter import DOWN, UP, AdapterEdit
from workbench.edits.composed import ComposedEdit
from workbench.edits.edit import Edit
from workbench.edits.guidance import GuidanceEdit
from workbench.edits.prompt import PromptEdit
from workbench.edits.weight import DELTA, RIGHT, WeightEdit

Guided = TypeVar("Guided", bound=GuidanceEdit | PromptEdit)
NEAREST = 8  # a feature's stand-in is drawn among this many of the nearest density
TURNED = ("steerer", "detect_replace")  # programs that add activations, not features: theirs are turned as a whole


def no_op_like(edit: Edit) -> Edit:
    """An edit in the same place that changes nothing: images must be equal bit for bit to those of the model itself."""
    if isinstance(edit, ComposedEdit):
        return ComposedEdit([no_op_like(part) for part in edit.parts])
    if isinstance(edit, ActivationEdit):
        return replace(edit, program="identity", tensors={}, settings={}, method="no-op")
    if isinstance(edit, GuidanceEdit):
        return replace(edit, rule="identity", tensors={}, settings={}, method="no-op")
    if isinstance(edit, PromptEdit):
        return replace(edit, text="", tensors={}, settings={}, method="no-op")
    if isinstance(edit, AdapterEdit):
        none = {key: torch.zeros_like(one) if key.endswith(UP) else one for key, one in edit.tensors.items()}
        return replace(edit, tensors=none, settings={}, method="no-op")
    assert isinstance(edit, WeightEdit), f"no control is known for edits of the kind {edit.kind!r}"
    zeros = {name + DELTA: torch.zeros_like(edit.delta(name)) for name in edit.names}
    return replace(edit, tensors=zeros, settings={}, method="no-op")


def random_like(edit: Edit, *, seed: int = 0) -> Edit:
    """The control that separates what an edit is about from how much it changes: random features of an activation
    edit, random directions of one that adds activations, of a weight edit, of adapters and of one that acts on
    guidance, and of each part of a composed one."""
    if isinstance(edit, ComposedEdit):
        return ComposedEdit([random_like(part, seed=seed) for part in edit.parts])
    if isinstance(edit, ActivationEdit):
        return turned_like(edit, seed=seed) if edit.program in TURNED else random_features_like(edit, seed=seed)
    if isinstance(edit, GuidanceEdit | PromptEdit):
        return guided_at_right_angles_like(edit, seed=seed)
    if isinstance(edit, AdapterEdit):
        return random_adapters_like(edit, seed=seed)
    assert isinstance(edit, WeightEdit), f"no control is known for edits of the kind {edit.kind!r}"
    return random_directions_like(edit, seed=seed)


def random_directions_like(edit: WeightEdit, *, seed: int = 0) -> WeightEdit:
    """The same edit turned: each Δ becomes ΔQ with one random orthogonal Q in its input space.

    Norm, rank and singular values of every Δ stay, and so do the outputs that it can add; what the weights react to is
    another direction. A vector (a bias or a norm) is multiplied by random signs.
    """
    generator = torch.Generator().manual_seed(seed)
    turns: dict[int, Tensor] = {}

    def turned(tensor: Tensor) -> Tensor:
        if tensor.ndim < 2:
            return tensor * (2 * torch.randint(0, 2, tensor.shape, generator=generator) - 1)
        flat = tensor.flatten(1)
        width = flat.shape[1]
        if width not in turns:
            turns[width] = rotation(width, generator)
        return (flat.double() @ turns[width]).to(tensor.dtype).view(tensor.shape)

    tensors = {
        key: turned(value) if key.endswith((DELTA, RIGHT)) else value for key, value in sorted(edit.tensors.items())
    }
    return replace(edit, tensors=tensors, method=f"random directions like {edit.method}", seed=seed)


def random_adapters_like(edit: AdapterEdit, *, seed: int = 0) -> AdapterEdit:
    """The same adapters with random inputs: each d becomes R Q, Q random orthonormal rows and R that of d's own.

    Norm, rank and singular values of every product u d stay, and so does what it can add and when it opens; what it
    reacts to is another direction, drawn anew for each adapter and layer.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(down: Tensor) -> Tensor:
        own = torch.linalg.qr(down.flatten(1).double().T).R
        other = torch.linalg.qr(torch.randn(down[0].numel(), len(down), generator=generator, dtype=torch.float64)).Q
        return (own.T @ other.T).to(down.dtype).view(down.shape)

    tensors = {key: drawn(one) if key.endswith(DOWN) else one for key, one in sorted(edit.tensors.items())}
    return replace(edit, tensors=tensors, method=f"random directions like {edit.method}", seed=seed)


def rotation(width: int, generator: torch.Generator) -> Float[Tensor, "width width"]:
    """A random orthogonal matrix, uniform over all of them, in float64."""
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()  # without it, Q is not uniform (Mezzadri 2007)


def guided_at_right_angles_like(edit: Guided, *, seed: int = 0) -> Guided:
    """The same edit, what it adds to a prediction turned by one random right angle in the channels of the latents.

    It acts on the same pictures, places and steps and moves as far (how much), everywhere at a right angle to the edit
    (about what). Another text in the place of the edit's own would change both.
    """
    turn = right_angle(rotation(edit.width, torch.Generator().manual_seed(seed))).float()
    return replace(edit, tensors={"turn": turn}, method=f"random directions like {edit.method}", seed=seed)


def right_angle(r: Float[Tensor, "width width"]) -> Float[Tensor, "width width"]:
    """Q = R J Rᵀ with J = [[0, −1], [1, 0]] along the diagonal: ‖Qx‖ = ‖x‖ and xᵀQx = 0 for every x."""
    assert len(r) % 2 == 0, f"in {len(r)} dimensions no map turns every vector by a right angle"
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=r.dtype)
    return r @ torch.block_diag(*[quarter] * (len(r) // 2)) @ r.T


def turned_like(edit: ActivationEdit, *, seed: int = 0) -> ActivationEdit:
    """The same edit, what it adds turned by one random rotation: at the same positions, and everywhere as far."""
    turn = rotation(edit.width, torch.Generator().manual_seed(seed)).float()
    return replace(
        edit, tensors={**edit.tensors, "turn": turn}, method=f"random directions like {edit.method}", seed=seed
    )


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
    """As many other features, one for each and in the same order, none twice, all of which fire sometimes."""
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
    return torch.stack(drawn) if drawn else features
