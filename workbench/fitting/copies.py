"""A second handle on a model whose denoiser is its own: fine-tuning methods train that, and the model never changes."""

from collections.abc import Callable, Iterable
from copy import copy, deepcopy

import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.edits.weight import DELTA
from workbench.models import Model


def own_denoiser(model: Model) -> Model:
    """A handle that shares everything with `model` but its denoiser, a deep copy of the one that `model` has now.

    Under `model.edited(…)` the copy has the edited weights. Nothing in it asks for gradients. Raises `WorkbenchError`
    while an edit or a recorder is inside the denoiser: its hooks would be copied too, and belong to the other one.
    """
    component = model.architecture.denoiser.path
    original = getattr(model.pipe, component)
    if any(part._forward_hooks or part._forward_pre_hooks for part in original.modules() if part is not original):
        raise WorkbenchError(
            f"A session has hooks in the denoiser of {model.name}.", "Close it before the denoiser is copied."
        )
    architecture = copy(model.architecture)
    architecture.pipe = copy(model.pipe)
    setattr(architecture.pipe, component, _without_hooks(deepcopy(original)))
    twin = Model(model.name, architecture, model.defaults, model._files)
    twin.is_edited = model.is_edited
    return twin


def denoiser_parameters(model: Model, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, nn.Parameter]:
    """The denoiser's parameters by their names in the model ("unet.mid_block.….attn1.to_q.weight"), those `wanted`."""
    component = model.architecture.denoiser.path
    named = ((f"{component}.{name}", one) for name, one in getattr(model.pipe, component).named_parameters())
    return {name: one for name, one in named if wanted(name)}


@torch.no_grad()
def changes(model: Model, trained: Model, names: Iterable[str]) -> dict[str, Tensor]:
    """`trained` − `model` for each parameter, on the CPU, as the `NAME:delta` tensors of a `WeightEdit`."""
    return {name + DELTA: (trained.parameter(name) - model.parameter(name)).cpu() for name in names}


def _without_hooks(denoiser: nn.Module) -> nn.Module:
    """What follows the calls of the original does not follow those of the copy."""
    for hooks in (denoiser._forward_hooks, denoiser._forward_pre_hooks):
        hooks.clear()
    return denoiser.requires_grad_(False)
