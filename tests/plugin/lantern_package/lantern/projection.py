"""Projection: what a concept's name adds is taken out of all that the picture reads of a prompt.

u_i are orthonormal rows that span the last subject rows of the concepts, W the maps that read the prompt:
    (1)  Δ = −s W Uᵀ U
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor
from typing_extensions import Doc

import workbench as wb
from workbench.fitting.embedding import embed
from workbench.fitting.rows import last_subject
from workbench.models.capabilities import CROSS_ATTENTION


@dataclass(frozen=True, kw_only=True)
class Projection(wb.ErasureMethod):
    """Projects the names of concepts out of keys and values. A `WeightEdit`."""

    share: Annotated[float, Ge(0), Le(1), Doc("s: how much of it is taken out.")] = 1.0

    name: ClassVar[str] = "lantern_projection"
    paper: ClassVar[wb.Reference] = wb.Reference(
        title="On lanterns and what they show", authors="A. Wick", year=1871, address="https://example.org/lanterns"
    )
    family: ClassVar[str] = "closed form"
    supports: ClassVar[wb.Supports] = wb.Supports({CROSS_ATTENTION})
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=None) -> wb.WeightEdit:
        """Projects the names of all concepts at once."""
        self.supports.check("Projection", model, concepts)
        u = spanned(model, [concept.name for concept in (progress(concepts, "names") if progress else concepts)])
        tensors = {f"{name}:left": -self.share * W.detach() @ u.T for name, W in model.prompt_maps().items()}  # (1)
        return wb.WeightEdit(tensors={**tensors, ":right": u}, **self.told(model, concepts, seed))


def spanned(model, words: Sequence[str]) -> Tensor:
    """U, a row for each word."""
    rows = [embed(model, [word])[0][last_subject(model, word, word)[-1]] for word in words]
    return torch.linalg.qr(torch.stack(rows).T).Q.T.contiguous()
