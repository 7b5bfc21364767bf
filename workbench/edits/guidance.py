"""Edits of guidance: how its branches are joined. Neither weights nor activations change; the sampler does."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.controls import DIRECTIONS, right_angle, rotation
from workbench.edits.edit import Summary, named
from workbench.edits.fields import EditFields
from workbench.models import Diffusion
from workbench.models.diffusion.guiding import Guide, Joined, Prediction, Rule
from workbench.plugins import declared

NOTHING = "workbench.edits.guidance:IDENTITY"
Own = TypeVar("Own", bound="BranchFields")


@dataclass(frozen=True)
class GuidanceRule:
    """How a `GuidanceEdit` joins the branches of guidance. A saved edit names it as "module:NAME".

    Args:
        guide: Gives the guide of an edit, from its text and its settings.
    """

    guide: Callable[[str, Mapping[str, Any]], Guide]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BranchFields(EditFields):
    """What edits of a branch of guidance hold: the `text` of the branch, and `width`, the channels of the latents.

    `tensors` is empty but for the control, whose `turn` turns what the edit adds to each prediction.
    """

    text: str
    width: int
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for another model, other latents, and guidance without unconditional rows."""
        super().check(model)
        check_branches(self.method, model)
        check_width(self, model.architecture.latent_channels, model.name)

    def random(self: Own, seed: int = 0) -> Own:
        """The same edit, what it adds to a prediction turned by one random right angle in the channels of the latents.

        It acts on the same pictures, places and steps and moves as far (how much), everywhere at a right angle to the
        edit (about what). Another text in the place of the edit's own would change both.
        """
        turn = right_angle(rotation(self.width, torch.Generator().manual_seed(seed))).float()
        return replace(self, tensors={"turn": turn}, method=f"{DIRECTIONS} like {self.method}", seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GuidanceEdit(BranchFields):
    """A rule for the branches of guidance, with one more branch for `text`.

    `rule` is where a `GuidanceRule` lies, as "module:NAME": of this package, or of a module that an installed package
    declares as an entry point. `settings` holds what the rule reads. Raises `WorkbenchError` for a rule that is not to
    be found.
    """

    rule: str

    kind: ClassVar[str] = "guidance"

    def __post_init__(self) -> None:
        super().__post_init__()
        declared(self.rule, GuidanceRule, "rule")

    def installed(self, model: Diffusion) -> AbstractContextManager[None]:
        """The rule is in place for every batch that the model generates, and starts anew with each."""
        self.check(model)
        guide = declared(self.rule, GuidanceRule, "rule").guide(self.text, self.settings)
        if "turn" in self.tensors:
            guide = turned(guide, self.tensors["turn"].to(model.device))
        return model.guiding.installed(guide)

    def no_op(self) -> "GuidanceEdit":
        """A rule that hands on what it is given: the control that shows what stepping in costs."""
        return replace(self, rule=NOTHING, tensors={}, settings={}, method="no-op")

    def rows(self, model: Diffusion | None = None) -> list[dict[str, Any]]:
        """A row for the branch that the edit adds. Nothing inside the network changes."""
        if model is not None:
            self.check(model)
        return [{"branch": "one more, of the text", "text": self.text, "rule": self.rule}]

    def summary(self) -> Summary:
        """One more branch."""
        return Summary("guidance, by one more branch", DIRECTIONS)

    def _told(self) -> dict[str, Any]:
        return {"text": self.text, "rule": self.rule}


def check_width(edit: BranchFields, width: int, model: str) -> None:
    """Refuses a branch of another width.

    Args:
        edit: The edit.
        width: What the model's branches predict.
        model: Its name.

    Raises:
        WorkbenchError: They differ.
    """
    if edit.width != width:
        raise WorkbenchError(
            f"{named(edit)} is for predictions of {edit.width} channels, and those of {model} have {width}.",
            "Fit the method on this model.",
        )


def check_branches(method: str, model: Diffusion) -> None:
    """Refuses a model without unconditional rows: nothing is joined there.

    Args:
        method: What has no branches to act on, for the sentence.
        model: The model.

    Raises:
        WorkbenchError: It is guided within its denoiser.
    """
    if model.architecture.guides_within:
        raise WorkbenchError(
            f"{model.name} ({model.kind}) is guided within its denoiser, without unconditional rows, so that "
            f"{method} has no branches to act on.",
            "Use a method that changes weights or activations, or another model.",
        )


def identity(text: str, settings: Mapping[str, Any]) -> Guide:
    """Returns both branches unchanged and wants none of its own.

    Args:
        text: Of the edit; not read.
        settings: Of the edit; not read.

    Returns:
        The guide.
    """
    return Guide(lambda steps: lambda joined, safe, call: joined)


IDENTITY = GuidanceRule(identity)


def turned(guide: Guide, turn: Float[Tensor, "channels channels"]) -> Guide:
    """A guide whose addition to each branch is turned.

    Args:
        guide: The guide.
        turn: Q, `[channels, channels]`, on the model's device.

    Returns:
        A guide of the same prompt.
    """

    def begin(steps: int) -> Rule:
        rule = guide.begin(steps)

        def turned_rule(joined: Joined, safe: Prediction | None, call: int) -> Joined:
            pairs = zip(joined, rule(joined, safe, call), strict=True)
            return Joined(*(before + apply_turn(turn, after - before) for before, after in pairs))

        return turned_rule

    return Guide(begin, guide.prompt)


def apply_turn(turn: Float[Tensor, "channels channels"], change: Prediction) -> Prediction:
    """A change of a prediction, the channels turned alike at every place.

    Args:
        turn: Q, `[channels, channels]`.
        change: `[pictures, channels, height, width]`.

    Returns:
        Of the same shape and dtype.
    """
    return torch.einsum("dc,nchw->ndhw", turn.to(change.dtype), change)
