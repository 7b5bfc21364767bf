"""OtherWords: the names of concepts, after a word of one's own, as the negative prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from typing_extensions import Doc

import workbench as wb
from saes.progress import SILENT
from workbench.models.capabilities import GUIDANCE_BRANCHES


@dataclass(frozen=True, kw_only=True)
class OtherWords(wb.ErasureMethod):
    """The names of concepts as the negative prompt. A `PromptEdit`."""

    before: Annotated[str, Doc("A word that stands before each name.")] = "any"

    name: ClassVar[str] = "lantern_words"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "guidance"
    supports: ClassVar[wb.Supports] = wb.Supports({GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=SILENT) -> wb.PromptEdit:
        """Joins the names."""
        self.supports.check("OtherWords", model, concepts)
        text = ", ".join(f"{self.before} {concept.name}" for concept in progress(concepts, "names"))
        return wb.PromptEdit(text=text, width=model.architecture.latent_channels, **self.told(model, concepts, seed))
