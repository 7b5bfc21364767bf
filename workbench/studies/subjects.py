"""What a hypothesis is about: features, attention heads, layers, or a direction. Only words here, nothing is loaded."""

from typing import Literal

from pydantic import Field

from saes.config import StrictConfig
from saes.errors import WorkbenchError

Kind = Literal["features", "heads", "layers", "direction"]


class Features(StrictConfig):
    """Features of an SAE: those `listed`, or those found for the concept `of`: ItD's contrast, or the `top` ones."""

    sae: str
    listed: tuple[int, ...] = ()
    of: str = ""
    top: int | None = Field(default=None, ge=1)


class Direction(StrictConfig):
    """The difference of two means at a site: over prompts of the concept `of`, and the same with what it retains."""

    site: str
    of: str


class Subject(StrictConfig):
    """Exactly one of: `features`; `heads`, numbers by the alias of an attention ({text.2.attn: [0, 3]}); `layers`,
    aliases of sites whose whole activation is meant; a `direction`."""

    features: Features | None = None
    heads: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    layers: tuple[str, ...] = ()
    direction: Direction | None = None

    @property
    def kind(self) -> Kind:
        """Which of the four it is. Raises `WorkbenchError` if it is none or several."""
        given: list[Kind] = [name for name in ("features", "heads", "layers", "direction") if getattr(self, name)]
        if len(given) != 1:
            raise WorkbenchError(
                f"The subject names {' and '.join(given) or 'nothing'}.",
                "Name features, heads, layers or a direction, and one of these alone.",
            )
        if self.features and bool(self.features.listed) == bool(self.features.of):
            raise WorkbenchError(
                "The features are neither listed nor those of a concept, or both.",
                "Give either `listed: [3, 14]` or `of: fox`.",
            )
        return given[0]

    @property
    def of(self) -> str:
        """The concept whose features or direction are looked for; "" if none is."""
        found = self.features or self.direction
        return found.of if found else ""

    def looked_for_in(self, concept: str) -> "Subject":
        """The same, its features or direction those of the concept of this name."""
        part = "features" if self.features else "direction"
        return self.model_copy(update={part: getattr(self, part).model_copy(update={"of": concept})})
