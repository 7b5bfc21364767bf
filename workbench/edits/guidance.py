"""Edits of guidance: how its branches are joined. Neither weights nor activations change; the sampler does."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError, unknown_name
from workbench.edits.edit import Edit, check_fingerprint, html_table
from workbench.edits.files import read_edit, write_edit
from workbench.models import Diffusion
from workbench.models.diffusion.guiding import Guide, Joined, Prediction, Rule

RULES = {  # a saved edit names its rule: a function of its text and settings that gives a guide
    "identity": "workbench.edits.guidance:identity",
    "sld": "workbench.erasure.sld:safe_guidance",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class GuidanceEdit:
    """A rule for the branches of guidance, with one more branch for `text`.

    `width` is the channels of the model's latents. `settings` (JSON) holds what the rule reads and everything else that
    the method was told. `tensors` is empty but for the control, whose `turn` turns what the rule adds to each branch.
    """

    text: str
    width: int
    rule: str
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    seed: int = 0
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    kind: ClassVar[str] = "guidance"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown_name("rule", self.rule, RULES)
        object.__setattr__(self, "concepts", tuple(self.concepts))

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for another model, and for one that is guided without unconditional rows."""
        check_guided(self, model)

    def installed(self, model: Diffusion) -> AbstractContextManager[None]:
        """The rule is in place for every batch that the model generates, and starts anew with each."""
        self.check(model)
        module, function = RULES[self.rule].split(":")
        guide: Guide = getattr(import_module(module), function)(self.text, self.settings)
        if "turn" in self.tensors:
            guide = turned(guide, self.tensors["turn"].to(model.device))
        return model.guiding.installed(guide)

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`; refused if it exists."""
        write_edit(path, self.kind, described(self, _SAVED), self.tensors)

    @classmethod
    def read(cls, path: Path) -> "GuidanceEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        saved, tensors = read_edit(path, _SAVED)
        return cls(**saved, tensors=tensors)

    def _repr_html_(self) -> str:
        return html_table(self, {"text": self.text, "rule": self.rule})


_SAVED = tuple(one.name for one in fields(GuidanceEdit) if one.name != "tensors")


def described(edit: Edit, names: Sequence[str]) -> dict[str, Any]:
    """The fields of an edit that go into its description, as JSON has them."""
    return {**{name: getattr(edit, name) for name in names}, "concepts": list(edit.concepts),
            "settings": dict(edit.settings)}  # fmt: skip


def check_guided(edit: Any, model: Diffusion) -> None:
    """Raises `WorkbenchError` for another model, and for one that is guided without unconditional rows."""
    check_fingerprint(edit, model)
    check_branches(edit.method, model)


def check_branches(method: str, model: Diffusion) -> None:
    """Raises `WorkbenchError` for a model without unconditional rows: nothing is joined there."""
    if not model.architecture.doubles_rows:
        raise WorkbenchError(
            f"{model.name} ({model.kind}) is guided within its denoiser, without unconditional rows, so that "
            f"{method} has no branches to act on.",
            "Use a method that changes weights or activations, or another model.",
        )


def identity(text: str, settings: Mapping[str, Any]) -> Guide:
    """Hands over what it is given and wants no branch: the control that shows what stepping in costs."""
    return Guide(lambda steps: lambda joined, safe, call: joined)


def turned(guide: Guide, turn: Float[Tensor, "channels channels"]) -> Guide:
    """The guide, what it adds to each branch turned."""

    def begin(steps: int) -> Rule:
        rule = guide.begin(steps)

        def turned_rule(joined: Joined, safe: Prediction | None, call: int) -> Joined:
            pairs = zip(joined, rule(joined, safe, call), strict=True)
            return Joined(*(before + apply_turn(turn, after - before) for before, after in pairs))

        return turned_rule

    return Guide(begin, guide.prompt)


def apply_turn(turn: Float[Tensor, "channels channels"], change: Prediction) -> Prediction:
    """The change of a prediction, the channels turned alike at every place."""
    return torch.einsum("dc,nchw->ndhw", turn.to(change.dtype), change)
