"""Layers with low-rank terms beside them while a block runs; their weights are never touched.

    (1)  y = W x + U M D x      D [k, …] a small layer of the same geometry, U [out, k], M what the caller mixes with
Many adapters are one term: the rows of D and the columns of U side by side, so that ten cost two thin products too.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Low = Float[Tensor, "rows positions k"]
Mix = Callable[[Low], Low]  # M, which may differ from row to row


class Term(NamedTuple):
    """The factors of (1). `down` is [k, in] beside a linear layer, [k, in, height, width] beside a convolution."""

    down: Tensor
    up: Float[Tensor, "out k"]


@contextmanager
def beside(find: Callable[[str], nn.Module], terms: Mapping[str, Term], mix: Callable[[], Mix]) -> Iterator[set[str]]:
    """The layers at these paths hand over (1). `mix` is asked for M at every call of a layer.

    Gives the paths of the layers that have run, a set that grows. Gradients flow to the factors where they are asked
    for; where none are recorded, the term is added in the memory of the layer's own output.
    """
    ran: set[str] = set()
    with ExitStack() as stack:
        for path, term in terms.items():
            stack.callback(find(path).register_forward_hook(_hook(path, term, mix, ran)).remove)
        yield ran


def _hook(path: str, term: Term, mix: Callable[[], Mix], ran: set[str]) -> Callable:
    add = _beside_convolution if term.down.ndim == 4 else _beside_linear

    def hook(layer: nn.Module, args: tuple, output: Tensor) -> Tensor:
        ran.add(path)
        factors = Term(*(one.to(output.dtype) for one in term))  # trained in float32, whatever the layer is in
        return add(layer, args[0], output, factors, mix())

    return hook


def _beside_linear(layer: nn.Module, x: Tensor, output: Tensor, term: Term, mix: Mix) -> Tensor:
    low = mix(F.linear(x, term.down).view(len(x), -1, len(term.down))).flatten(0, 1)
    add = torch.addmm if torch.is_grad_enabled() else Tensor.addmm_
    return add(output.flatten(0, -2), low, term.up.T).view_as(output)  # (1)


def _beside_convolution(layer: nn.Module, x: Tensor, output: Tensor, term: Term, mix: Mix) -> Tensor:
    assert isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros"
    low = F.conv2d(x, term.down, None, layer.stride, layer.padding, layer.dilation)
    low = mix(low.flatten(2).mT).mT
    add = torch.baddbmm if torch.is_grad_enabled() else Tensor.baddbmm_
    return add(output.flatten(2), term.up.expand(len(x), -1, -1), low).view_as(output)  # (1)
