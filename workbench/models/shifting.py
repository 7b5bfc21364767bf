"""Parameters that are something else for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def shifted(parameters: Mapping[str, nn.Parameter], deltas: Mapping[str, Tensor]) -> Iterator[None]:
    """Each parameter plus its delta of the same shape, rounded once to the parameter's dtype, while the body runs.

    The sums are new memory; afterwards the parameters get back the memory that they had, so nothing is ever rounded
    back, and a kill in between cannot leave half a change in anything that is saved.
    """
    before = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, delta in deltas.items():
            parameters[name].data = shifted_weight(before[name], delta)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = before[name]


def shifted_weight(weight: Tensor, delta: Tensor) -> Tensor:
    """`weight + delta` in the finer of both dtypes, then in the weight's."""
    dtype = torch.promote_types(weight.dtype, delta.dtype)
    return (weight.to(dtype) + delta.to(weight.device, dtype)).to(weight.dtype)
