"""Edits of the negative prompt: guidance leads away from a text, where it led away from the empty prompt."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from workbench.edits.edit import html_table
from workbench.edits.files import read_edit, write_edit
from workbench.edits.guidance import apply_turn, check_guided, described
from workbench.models import Diffusion
from workbench.models.diffusion.guiding import Guide, Joined, Prediction, Rule


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptEdit:
    """`text` is the negative prompt of every picture; one that the caller gives as well comes before it, with a comma.

    `width` is the channels of the model's latents. `tensors` is empty but for the control, whose `turn` turns what the
    text adds to the branch without prompt; for that, the empty prompt is one more branch. Equal by identity.
    """

    text: str
    width: int
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    seed: int = 0
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    kind: ClassVar[str] = "prompt"

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(self.concepts))

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for another model, and for one that is guided without unconditional rows."""
        check_guided(self, model)

    def installed(self, model: Diffusion) -> AbstractContextManager[None]:
        """The text is the negative prompt of all that the model generates."""
        self.check(model)
        turn = self.tensors.get("turn")
        guides = [] if turn is None else [turned_prompt(turn.to(model.device))]
        return model.guiding.installed(*guides, negative=self.text)

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`; refused if it exists."""
        write_edit(path, self.kind, described(self, _SAVED), self.tensors)

    @classmethod
    def read(cls, path: Path) -> "PromptEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        saved, tensors = read_edit(path, _SAVED)
        return cls(**saved, tensors=tensors)

    def _repr_html_(self) -> str:
        return html_table(self, {"negative prompt": self.text})


_SAVED = tuple(one.name for one in fields(PromptEdit) if one.name != "tensors")


def turned_prompt(turn: Float[Tensor, "channels channels"]) -> Guide:
    """What the negative prompt adds to the prediction of the empty one, turned: ε_n ← ε_∅ + Q (ε_n − ε_∅)."""

    def rule(joined: Joined, empty: Prediction | None, call: int) -> Joined:
        assert empty is not None, "the empty prompt is this guide's own branch"
        return joined._replace(uncond=empty + apply_turn(turn, joined.uncond - empty))

    def begin(steps: int) -> Rule:
        return rule

    return Guide(begin, "")
