"""What every edit is, whatever it changes, and what it says about itself."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from workbench.edits.gates import Gates
from workbench.models import Model

if TYPE_CHECKING:
    from workbench.edits.weight import WeightEdit


class ActedOn(NamedTuple):
    """The features of a sparse autoencoder that an edit acts on at one site."""

    site: str
    features: Int64[Tensor, " found"]
    dictionary: Dictionary
    density: Float[Tensor, " d_sae"] | None  # share of the fit's rows on which each feature fires; None: not known


class Summary(NamedTuple):
    """What reports, comparisons and costs ask of an edit."""

    changes: str  # what it changes, in words: "12 weights, low rank"
    control: str  # what its `random` draws: "random features", "random directions"
    features: tuple[ActedOn, ...] = ()
    in_weights: bool = False  # whether `Edit.in_weights` gives it, so that it can be baked


@runtime_checkable
class Edit(Protocol):
    """A value that changes what a model does while it is in place: `with model.edited(edit): …`."""

    @property
    def kind(self) -> str:
        """What is changed: a key of `workbench.edits.KINDS`, or of an installed package."""
        ...

    @property
    def method(self) -> str:
        """How it was found: the name of a method, of a control, or of what was done by hand."""
        ...

    @property
    def concepts(self) -> Sequence[str]:
        """The names of the concepts that it erases."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that the method was told, as JSON says it."""
        ...

    @property
    def base_fingerprint(self) -> str:
        """The fingerprint of the model that it was fitted on."""
        ...

    @property
    def seed(self) -> int:
        """What decided all that was drawn at random."""
        ...

    def leaves(self) -> "Sequence[Edit]":
        """The edits that it is composed of.

        Returns:
            In their order, none of them composed; itself if it is not composed.
        """
        ...

    def check(self, model: Any) -> None:
        """Refuses a model that the edit is not for.

        Args:
            model: Any.

        Raises:
            WorkbenchError: The edit was fitted on another model, or does not fit its shapes.
        """
        ...

    def installed(self, model: Any) -> AbstractContextManager:
        """Puts the edit in place.

        Args:
            model: It is checked first.

        Returns:
            A context manager: in place while the block runs; afterwards the model is exactly as before.

        Raises:
            WorkbenchError: As `check` does.
        """
        ...

    def decides(self) -> bool:
        """Whether it decides about prompts.

        Returns:
            True if it acts on a prompt as a whole or not at all, or as far as the prompt opens it.
        """
        ...

    def installed_by(self, model: Any, gates: Gates) -> AbstractContextManager:
        """Puts the edit in place, and something else decides where it would.

        Args:
            model: It is checked first.
            gates: They decide; not asked by an edit that decides nothing.

        Returns:
            As `installed`.

        Raises:
            WorkbenchError: As `check` does.
        """
        ...

    def no_op(self) -> "Edit":
        """The control that does nothing.

        Returns:
            An edit in the same place that changes nothing: images are equal bit for bit to those of the model itself.
        """
        ...

    def random(self, seed: int = 0) -> "Edit":
        """The control that separates what an edit is about from how much it changes.

        Args:
            seed: Decides what is drawn; recorded as the control's `seed`.

        Returns:
            An edit of the same kind and size, about something drawn at random: as many other features, or the same
            change in another direction.

        Raises:
            WorkbenchError: If there is nothing to draw from.
        """
        ...

    def rows(self, model: Any = None) -> list[dict[str, Any]]:
        """What is inside, as a table: a row for each parameter, feature or branch of guidance.

        Args:
            model: The model that it was fitted on, to compare with its weights; columns about it are None without.

        Returns:
            Rows with the same columns; of a composed edit, the rows of its leaves after one another.

        Raises:
            WorkbenchError: If the edit does not fit the model.
        """
        ...

    def summary(self) -> Summary:
        """What others ask without knowing the kind of edit.

        Returns:
            What it changes, by what, and what its control is called.
        """
        ...

    def in_weights(self) -> "Sequence[WeightEdit]":
        """The same as changes of weights, which can be baked.

        Returns:
            Them, in their order.

        Raises:
            WorkbenchError: It acts while the model runs, which weights cannot do.
        """
        ...

    def save(self, path: Path | str) -> None:
        """Writes a new folder, whole or not at all.

        Args:
            path: The folder.

        Raises:
            WorkbenchError: It exists already, or cannot be written.
        """
        ...


def named(edit: Edit) -> str:
    """An edit in an error message.

    Args:
        edit: The edit.

    Returns:
        Such as "The uce edit of fox, cat".
    """
    return f"The {edit.method} edit of {', '.join(edit.concepts)}" if edit.concepts else f"The {edit.method} edit"


def check_fingerprint(edit: Edit, model: Model) -> None:
    """Refuses another model than the edit's own.

    Args:
        edit: The edit.
        model: The model.

    Raises:
        WorkbenchError: The edit was not fitted on exactly these weights.
    """
    if edit.base_fingerprint != model.fingerprint:
        raise WorkbenchError(
            f"{named(edit)} was fitted on another model "
            f"({edit.base_fingerprint[:12]}…) than {model.name} ({model.fingerprint[:12]}…).",
            "Load the model that it was fitted on, or fit the method on this one.",
        )


def html_table(edit: Edit, more: Mapping[str, Any]) -> str:
    """An edit as a small table for notebooks.

    Args:
        edit: The edit.
        more: Rows that its kind adds: name → value.

    Returns:
        HTML in which every text is escaped.
    """
    rows = {"concepts": ", ".join(edit.concepts), **more, "seed": edit.seed, "model": edit.base_fingerprint[:12]}
    rows |= edit.settings
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table><caption>{escape(edit.method)} ({escape(edit.kind)} edit)</caption>{cells}</table>"
