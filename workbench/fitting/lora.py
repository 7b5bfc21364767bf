"""Low-rank adapters on some linear maps of a denoiser of one's own (peft's LoRA; Hu et al. 2022, arXiv:2106.09685).

(1)  W_eff = W + B A,   A [rank, in] uniform in ±1/√in, B [out, rank] = 0 at the start
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from workbench.models import Diffusion

NAME = "default"  # of the one adapter


class Adapter(NamedTuple):
    """The factors of (1) of one map: `left` is B `[out, rank]`, `right` is A `[rank, in]`."""

    left: nn.Parameter
    right: nn.Parameter


def attach(own: Diffusion, names: Sequence[str], rank: int, generator: torch.Generator) -> dict[str, Adapter]:
    """Puts an adapter on each weight of linear maps in the denoiser.

    Its predictions stay as they are until the adapters are trained. Draws from `generator` alone.

    Args:
        own: A handle of `copies.own_denoiser`: its denoiser is changed for good.
        names: The weights, by their names in the model ("unet.….attn2.to_k.weight").
        rank: r of each adapter, 1 or more.
        generator: Draws A.

    Returns:
        The factors by these names; they do not ask for gradients yet.
    """
    component = own.architecture.denoiser.path
    paths = {name: name.removesuffix(".weight").removeprefix(f"{component}.") for name in names}
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(paths.values()))
    with torch.random.fork_rng():  # peft draws A first; it is drawn again below
        inject_adapter_in_model(config, getattr(own.pipe, component), adapter_name=NAME)
    found = {name: adapter_of(own.module(f"{component}.{path}")) for name, path in paths.items()}
    for adapter in found.values():
        width = adapter.right.shape[1]
        drawn = torch.rand(adapter.right.shape, generator=generator, device=generator.device)
        adapter.right.data.copy_((2 * drawn - 1) / width**0.5)  # (1)
        adapter.left.data.zero_()
        adapter.left.requires_grad_(False)
        adapter.right.requires_grad_(False)
    return found


def adapter_of(module: nn.Module) -> Adapter:
    """The factors of a map that has an adapter.

    Args:
        module: A layer that `attach` has wrapped.

    Returns:
        Its parameters, B `[out, rank]` and A `[rank, in]`.
    """
    left, right = (getattr(module, side)[NAME].weight for side in ("lora_B", "lora_A"))
    return Adapter(left, right)


def parameters_of(adapters: dict[str, Adapter]) -> dict[str, nn.Parameter]:
    """All factors by names of their own, as a training wants them.

    Args:
        adapters: What `attach` gave.

    Returns:
        "NAME:left" and "NAME:right" → parameter.
    """
    return {f"{name}:{side}": one for name, both in adapters.items() for side, one in both._asdict().items()}


def factors(adapters: dict[str, Adapter]) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors as a `WeightEdit` keeps them.

    Args:
        adapters: What `attach` gave.

    Returns:
        (B, A) of each map by its name, on the CPU, without gradients.
    """
    return {name: (one.left.detach().cpu(), one.right.detach().cpu()) for name, one in adapters.items()}
