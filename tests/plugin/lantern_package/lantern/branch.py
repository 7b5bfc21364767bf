"""BranchAway: guidance gets a third branch, for the names, and leads away from it.

(1)  ε_p ← ε_p − s (ε_names − ε_∅)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt
from typing_extensions import Doc

import workbench as wb
from saes.progress import SILENT
from workbench.models.capabilities import GUIDANCE_BRANCHES
from workbench.models.diffusion.guiding import Guide


@dataclass(frozen=True, kw_only=True)
class BranchAway(wb.ErasureMethod):
    """Guidance away from the names of concepts. A `GuidanceEdit`."""

    scale: Annotated[float, Gt(0), Doc("s: how strongly.")] = 2.0

    name: ClassVar[str] = "lantern_branch"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "guidance"
    supports: ClassVar[wb.Supports] = wb.Supports({GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "nothing; no images"

    def fit(self, model, concepts: Sequence[wb.Concept], *, seed: int = 0, progress=SILENT) -> wb.GuidanceEdit:
        """Joins the names."""
        self.supports.check("BranchAway", model, concepts)
        names = [concept.name for concept in progress(concepts, "names")]
        return wb.GuidanceEdit(
            text=", ".join(names), width=model.architecture.latent_channels, rule="lantern.branch:RULE",
            **self.told(model, concepts, seed),
        )  # fmt: skip


def away(text: str, settings: Mapping[str, Any]) -> Guide:
    """(1) at every step."""

    def rule(joined, names, call):
        return joined._replace(cond=joined.cond - settings["scale"] * (names - joined.uncond))  # (1)

    return Guide(lambda steps: rule, text)


RULE = wb.GuidanceRule(away)
