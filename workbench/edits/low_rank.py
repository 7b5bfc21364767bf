"""A change of weights as products of two thin matrices, a layer each: what LoRA files hold.

    (1)  Δ ≈ U D,  U [out, r], D [r, in]     of a convolution D keeps its kernel, and U is 1 × 1
Adapters and closed-form edits are such products already. Of any other Δ the singular vectors are taken: all whose
values are above the noise of its dtype, or the r largest, which lose least of its norm (Eckart and Young 1936).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.adapter import AdapterEdit
from workbench.edits.edit import Edit
from workbench.edits.weight import WeightEdit, rank
from workbench.models.beside import Term

WEIGHT = ".weight"


class LowRank(NamedTuple):
    """A change of weights.

    Args:
        terms: (1), by the path of the layer; the factor of the edit is in U.
        lost: ‖Δ − U D‖ / ‖Δ‖ over all layers, in [0, 1]; 0 up to rounding where no rank was asked for.
    """

    terms: Mapping[str, Term]
    lost: float


def low_rank(edit: Edit, most: int | None = None) -> LowRank:
    """An edit as thin products.

    Args:
        edit: Adapters, taken as always open, or one that changes weights.
        most: The largest r of a layer, 1 or more; left out, whatever r is exact.

    Returns:
        The products. Layers that an edit does not change have none.

    Raises:
        WorkbenchError: The edit acts while the model runs or changes nothing, it changes something that is no weight of
            a linear layer or convolution, or an exact product would be as large as the weights.
    """
    if isinstance(edit, AdapterEdit) and most is None:
        edit.check_sum()
        both = {layer: edit.term(layer) for layer in edit.layers}
        return LowRank({layer: Term(down, edit.factor * up) for layer, (down, up) in both.items()}, 0.0)
    parts = [edit.opened()] if isinstance(edit, AdapterEdit) else edit.in_weights()
    found: dict[str, list[Term]] = {}
    lost, whole = 0.0, 0.0
    for part in parts:
        for name in part.names:
            _check_layer(part, name)
            term, gone, norm = _product(part, name, most)
            lost, whole = lost + gone, whole + norm
            if len(term.down):
                found.setdefault(name.removesuffix(WEIGHT), []).append(term)
    if not found:
        raise WorkbenchError("The edit changes no weight.", "Export one that does.")
    return LowRank({layer: _beside(terms) for layer, terms in found.items()}, (lost / whole) ** 0.5)


def _check_layer(part: WeightEdit, name: str) -> None:
    if not name.endswith(WEIGHT) or part.delta(name).ndim not in (2, 4):
        raise WorkbenchError(
            f"The edit changes {name}, which is no weight of a linear layer or convolution.",
            "Write it into a model with `workbench bake`.",
        )


def _product(part: WeightEdit, name: str, most: int | None) -> tuple[Term, float, float]:
    """(1), the squared norm of what is lost, and that of Δ."""
    factors, delta = part.factors(name), part.delta(name)
    norm = float(delta.double().square().sum())
    if factors is not None and (most is None or factors[0].shape[1] <= most):
        return Term(factors[1], factors[0]), 0.0, norm
    flat = delta.double().flatten(1)
    left, values, right = torch.linalg.svd(flat, full_matrices=False)
    r = rank(values, delta)
    if most is None and r * sum(flat.shape) >= flat.numel():
        raise WorkbenchError(
            f"The change of {name} has rank {r}: a LoRA that holds it exactly is as large as the weights.",
            "Say which rank is enough, such as 64, or write it into a model with `workbench bake`.",
        )
    r = r if most is None else min(r, most)
    down = right[:r].view(r, *delta.shape[1:])
    return Term(down.to(delta), (left[:, :r] * values[:r]).to(delta)), float(values[r:].square().sum()), norm


def _beside(terms: list[Term]) -> Term:
    """Several changes of a layer as one."""
    downs: list[Tensor] = [one.down for one in terms]
    return Term(torch.cat(downs), torch.cat([one.up for one in terms], dim=1))
