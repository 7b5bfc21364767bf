"""Shade: what a concept's name adds is taken out of the text encoder while it runs.

u_i are orthonormal rows that span what the first layer makes of the names:
    (1)  x′ = x − s x Uᵀ U        at every position but the first, of prompts
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from typing_extensions import Doc

import workbench as wb
from saes.progress import SILENT
from workbench.activations.reading import held
from workbench.edits.programs import turned
from workbench.models.capabilities import TEXT_ENCODER


@dataclass(frozen=True, kw_only=True)
class Shade(wb.ErasureMethod):
    """Projects the names of concepts out of the first layer of the text encoder. An `ActivationEdit`."""

    share: Annotated[float, Ge(0), Doc("s: how much of it is taken out.")] = 4.0

    name: ClassVar[str] = "lantern_shade"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[wb.Supports] = wb.Supports({TEXT_ENCODER}, needs=("retain|captions",))
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=SILENT) -> wb.ActivationEdit:
        """Projects the names of all concepts at once."""
        self.supports.check("Shade", model, concepts)
        site = model.site("text.0")
        x = held(model, site, [concept.name for concept in concepts], progress, "names").x
        u = torch.linalg.qr(x[:, 1].T).Q.T.contiguous()
        return wb.ActivationEdit(
            site=site.alias, width=site.channels, program="lantern.shade:PROGRAM", tensors={"u": u},
            **self.told(model, concepts, seed),
        )  # fmt: skip


def shade(x: Tensor, clock: Any, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Tensor:
    """(1), turned for the control."""
    rows = clock.mask("cond")
    if not rows.any():
        return x
    change = -settings["share"] * (x[rows] @ tensors["u"].T) @ tensors["u"]  # (1)
    change[:, 0] = 0
    changed = x.clone()
    changed[rows] += turned(change, tensors).to(x.dtype)
    return changed


PROGRAM = wb.ActivationProgram(shade, control="turn", tensors=("u",), settings=("share",))
