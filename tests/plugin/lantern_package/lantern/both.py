"""Both: the shade in the text encoder and the words in guidance, as one edit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge
from typing_extensions import Doc

import workbench as wb
from lantern.shade import Shade
from lantern.words import OtherWords
from saes.progress import SILENT
from workbench.models.capabilities import GUIDANCE_BRANCHES, TEXT_ENCODER


@dataclass(frozen=True, kw_only=True)
class Both(wb.ErasureMethod):
    """Projects in the text encoder and guides away from the names. A `ComposedEdit`."""

    share: Annotated[float, Ge(0), Doc("s of the shade.")] = 4.0

    name: ClassVar[str] = "lantern_both"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "several"
    supports: ClassVar[wb.Supports] = wb.Supports({TEXT_ENCODER, GUIDANCE_BRANCHES}, needs=("retain|captions",))
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=SILENT) -> wb.ComposedEdit:
        """Fits one after the other, both on the model as it is."""
        self.supports.check("Both", model, concepts)
        parts = [
            method.fit(model, concepts, seed=seed, progress=progress)
            for method in (Shade(share=self.share), OtherWords())
        ]
        told = {"share": self.share}
        return wb.ComposedEdit([replace(part, method=self.name, settings={**part.settings, **told}) for part in parts])
