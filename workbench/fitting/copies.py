"""A second handle on a model with a component of its own: fine-tuning trains that, and the model never changes.

What is not trained is not copied: both components hold the very same parameters, so that beside the model a student
takes the memory of what it learns.
"""

from collections.abc import Callable, Iterable
from copy import copy, deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from saes.errors import WorkbenchError
from workbench.edits.weight import DELTA, WeightEdit
from workbench.models import Diffusion, Janus, Model
from workbench.models.model import Handle
from workbench.models.wrapped import check_plain

Wanted = Callable[[str], bool]  # of a parameter's name in the model


def everything(name: str) -> bool:
    """Selects all parameters.

    Args:
        name: A parameter's name in the model.

    Returns:
        True.
    """
    return True


def nothing(name: str) -> bool:
    """Selects no parameter.

    Args:
        name: A parameter's name in the model.

    Returns:
        False.
    """
    return False


def teacher_of(model: Diffusion) -> Diffusion:
    """A handle on the model's own weights that predicts as a student predicts before it has learnt anything.

    Beside a model in half precision both compute in bfloat16 and return float32 (`own_denoiser`): what a loss sees
    between them is then what the student has learnt, not how the two were rounded.

    Args:
        model: The model.

    Returns:
        A handle that shares every parameter with it.

    Raises:
        WorkbenchError: As `own_denoiser` does.
    """
    return own_denoiser(model, nothing)


def own_denoiser(model: Diffusion, trained: Wanted = everything) -> Diffusion:
    """A second handle whose denoiser can be trained without changing `model`.

    It shares all parameters except the denoiser's parameters selected by `trained`, which are copied. Inside
    `model.edited(…)` the copies start from the edited weights; the shared ones stay edited only while the block runs.
    Copies of half-precision weights are float32, so that small steps are not lost; such a denoiser computes in bfloat16
    and returns float32.

    Args:
        model: The model. It is never changed.
        trained: Says for a parameter's name in the model whether it is to be trained.

    Returns:
        The handle. `requires_grad` of its copies stays False; training enables it.

    Raises:
        WorkbenchError: Layers of the denoiser are wrapped or fused, or a session has hooks in it.
    """
    path = model.architecture.denoiser.path
    own = _own(model, path, trained)
    if is_half(model):
        _compute_in_bfloat16(getattr(own.pipe, path), model.device.type)
    return own


def own_text_encoder(model: Diffusion, trained: Wanted = everything) -> Diffusion:
    """A second handle whose (first) text encoder can be trained without changing `model`.

    Of a model in half precision all of the text encoder is copied, in float32: what it hands to the denoiser brings the
    gradient back, which float16 would lose. The denoiser, which is not copied, then computes in bfloat16.

    Args:
        model: The model. It is never changed.
        trained: Says for a parameter's name in the model ("text_encoder.….weight") whether it is to be trained.

    Returns:
        The handle. `requires_grad` of its copies stays False; training enables it.

    Raises:
        WorkbenchError: Layers of the text encoder are wrapped or fused, or a session has hooks in it.
    """
    path = next(one.path for one in model.architecture.components if one.kind == "prompt")
    return own_denoiser(_own(model, path, everything), nothing) if is_half(model) else _own(model, path, trained)


def own_language_model(model: Janus, trained: Wanted = everything) -> Janus:
    """A second handle whose language model can be trained without changing `model`.

    It shares all parameters but the language model's that are selected, which are copied. Those of half-precision
    weights are float32, and such a language model computes in bfloat16.

    Args:
        model: The model. It is never changed.
        trained: Says for a parameter's name in the model ("language_model.….weight") whether it is to be trained.

    Returns:
        The handle. `requires_grad` of its copies stays False; training enables it.

    Raises:
        WorkbenchError: Layers of the language model are wrapped, or a session has hooks in it.
    """
    path, *others = (part.path for part in model.architecture.components)
    own = _own(model, path, trained)
    for other in others:  # modules of its own with the same parameters: sessions on one handle see its calls alone
        own = _own(own, other, nothing)
    if is_half(model):
        _compute_in_bfloat16(getattr(own.pipe, path), model.device.type)
    return own


def is_half(model: Model) -> bool:
    """Whether what reads prompts or makes pictures has weights in half precision.

    Args:
        model: The model.

    Returns:
        True for float16 and bfloat16, also of a single parameter.
    """
    parts = chain.from_iterable(getattr(model.pipe, one.path).parameters() for one in model.architecture.components)
    return any(torch.finfo(one.dtype).bits < 32 for one in parts)


def denoiser_parameters(model: Diffusion, wanted: Wanted = everything) -> dict[str, nn.Parameter]:
    """The denoiser's parameters by their names in the model ("unet.mid_block.….attn1.to_q.weight").

    Args:
        model: The model, or a handle of `own_denoiser`.
        wanted: Says for a name whether it is selected.

    Returns:
        Those selected, in the order of the module; empty if none is.
    """
    return parameters_of(model, model.architecture.denoiser.path, wanted)


def parameters_of(model: Model, component: str, wanted: Wanted = everything) -> dict[str, nn.Parameter]:
    """A component's parameters by their names in the model.

    Args:
        model: The model, or a handle with a component of its own.
        component: The component's path in the pipeline, such as "unet".
        wanted: Says for a name whether it is selected.

    Returns:
        Those selected, in the order of the module; empty if none is.
    """
    named = ((f"{component}.{name}", one) for name, one in getattr(model.pipe, component).named_parameters())
    return {name: one for name, one in named if wanted(name)}


@torch.no_grad()
def changes(model: Model, trained: Model, names: Iterable[str]) -> dict[str, Tensor]:
    """What a training changed, as the tensors of a `WeightEdit`.

    Args:
        model: The model.
        trained: The handle whose copies were trained.
        names: The parameters, by their names in the model.

    Returns:
        `NAME:delta` → `trained` − `model`, on the CPU, in the finer of the two dtypes.
    """
    return {name + DELTA: (trained.parameter(name) - model.parameter(name)).cpu() for name in names}


@torch.no_grad()
def add(edit: WeightEdit, own: Model) -> None:
    """Adds an edit to copied parameters in place, where nothing is rounded to half precision.

    Args:
        edit: Fitted on the model that `own` is a handle of.
        own: A handle whose own copies hold all parameters that the edit changes.
    """
    for name in edit.names:
        weight = own.parameter(name)
        weight.add_(edit.delta(name).to(weight))


def _own(model: Handle, component: str, trained: Wanted) -> Handle:
    original = getattr(model.pipe, component)
    check_plain(original, component, "be trained")
    parts = (part for part in original.modules() if part is not original)
    if any(
        _is_ours(hook) for part in parts for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    ):
        raise WorkbenchError(
            f"A session has hooks in the {component} of {model.name}.", "Close it before the component is copied."
        )
    shared = {id(one): one for one in parameters_of(model, component, lambda name: not trained(name)).values()}
    pipe = copy(model.pipe)
    vars(pipe).pop("encode_prompt", None)  # the wrapped one of the original encodes with the original's components
    setattr(pipe, component, _without_hooks(deepcopy(original, shared)))
    twin = model.twin(model.architecture.of(pipe))
    for one in parameters_of(twin, component, trained).values():
        one.data = one.data.to(torch.promote_types(one.dtype, torch.float32))
        one.requires_grad_(False)
    return twin


def _is_ours(hook: Callable) -> bool:
    """Transformers keeps hooks of its own in text encoders, and those may be copied."""
    return getattr(hook, "__module__", "").startswith("workbench.")


def _without_hooks(component: nn.Module) -> nn.Module:
    """What follows the calls of the original does not follow those of the copy."""
    for hooks in (component._forward_hooks, component._forward_pre_hooks):
        hooks.clear()
    return component


def _compute_in_bfloat16(component: nn.Module, device: str) -> None:
    """Weights in float32 and in half precision stand beside each other: both are cast for each product. bfloat16, for
    in float16 small gradients would be 0. What comes in float16 is cast at the door: autocast refuses to concatenate
    the two, as SDXL does with its pooled text."""
    running: list[torch.autocast] = []

    def begins(module: nn.Module, *given: Any) -> Any:
        running.append(torch.autocast(device, dtype=torch.bfloat16))
        running[-1].__enter__()
        return tree_map_only(Tensor, lambda x: x.bfloat16() if x.dtype == torch.float16 else x, given)

    def ends(module: nn.Module, args: Any, out: Any) -> Any:
        running.pop().__exit__(None, None, None)
        return tuple(one.float() for one in out) if isinstance(out, tuple) else out

    component.register_forward_pre_hook(begins, with_kwargs=True)
    component.register_forward_hook(ends, always_call=True)
