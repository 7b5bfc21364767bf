"""Side: the change of `lantern.projection`, beside the layers, and only for prompts that name the concept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from typing_extensions import Doc

import workbench as wb
from lantern.projection import spanned
from saes.progress import SILENT
from workbench.models.capabilities import CROSS_ATTENTION


@dataclass(frozen=True, kw_only=True)
class Side(wb.ErasureMethod):
    """An adapter for each concept that takes its name out of keys and values. An `AdapterEdit`."""

    alpha: Annotated[float, Ge(0), Doc("α of every adapter.")] = 1.0

    name: ClassVar[str] = "lantern_side"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "closed form"
    supports: ClassVar[wb.Supports] = wb.Supports({CROSS_ATTENTION})
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=SILENT) -> wb.AdapterEdit:
        """An adapter for each concept."""
        self.supports.check("Side", model, concepts)
        tensors = {}
        for number, concept in enumerate(progress(concepts, "names")):
            u = spanned(model, [concept.name])
            for name, W in model.prompt_maps().items():
                layer = f"{number}:{name.removesuffix('.weight')}"
                tensors |= {f"{layer}:down": u, f"{layer}:up": -W.detach() @ u.T}
        return wb.AdapterEdit(
            tensors=tensors, targets=[[concept.name] for concept in concepts], alphas=[self.alpha] * len(concepts),
            gate="tokens", **self.told(model, concepts, seed),
        )  # fmt: skip
