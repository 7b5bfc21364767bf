"""Layers that other libraries wrap or fuse: what they compute, and a refusal where that cannot be honoured.

peft puts a layer beside others of its own (`base_layer`, `lora_A`, …) and adds their products; diffusers can fuse
queries, keys and values into one layer, after which the single ones are never called.
"""

from typing import Any

import torch
from torch import nn

from saes.errors import WorkbenchError

FUSE = "Fuse it first: model.pipe.fuse_lora(), then model.pipe.unload_lora_weights(); or take it out."


@torch.no_grad()
def acting_weight(layer: nn.Module) -> nn.Parameter:
    """The weight `[out, in]` by which a linear layer acts: its own, and what adapters around it add.

    Raises:
        WorkbenchError: For an adapter whose change of the weight is not known.
    """
    if not hasattr(layer, "base_layer"):
        return layer.weight  # type: ignore[return-value]
    wrapped: Any = layer
    weight = wrapped.base_layer.weight
    adding = [] if wrapped.disable_adapters else [one for one in wrapped.active_adapters if _adds(wrapped, one)]
    if adding and not hasattr(wrapped, "get_delta_weight"):
        raise WorkbenchError(f"Adapters of the kind {type(layer).__name__} have no known weight.", FUSE)
    for name in adding:
        weight = weight + wrapped.get_delta_weight(name)
    return weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)


def check_plain(part: nn.Module, path: str, what: str) -> None:
    """Raises `WorkbenchError` if a network holds layers that are wrapped by adapters, or fused.

    Args:
        part: The network.
        path: Its name in the pipeline.
        what: What cannot be done then, as the end of a sentence: "be baked".
    """
    for name, layer in part.named_modules():
        if hasattr(layer, "base_layer"):
            raise WorkbenchError(f"`{path}.{name}` is wrapped by an adapter, so {path} cannot {what}.", FUSE)
        check_unfused(layer, f"{path}.{name}", what)


def check_unfused(layer: nn.Module, path: str, what: str) -> None:
    """Raises `WorkbenchError` if an attention's projections are fused: its single maps are then never called."""
    if getattr(layer, "fused_projections", False):
        raise WorkbenchError(
            f"The projections of `{path}` are fused, so they cannot {what}.",
            "Undo it: model.pipe.unfuse_qkv_projections().",
        )


def _adds(wrapped: Any, adapter: str) -> bool:
    return adapter not in wrapped.merged_adapters and adapter in wrapped._all_available_adapter_names()
