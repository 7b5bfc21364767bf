"""What all edits hold and do alike, but for those that are composed of others."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor

from saes.errors import WorkbenchError
from saes.plain import plain
from workbench.edits.checks import check_settings, check_tensors
from workbench.edits.edit import Edit, Summary, check_fingerprint, html_table, named
from workbench.edits.files import read_edit, typed, write_edit
from workbench.edits.gates import Gates

if TYPE_CHECKING:
    from workbench.edits.weight import WeightEdit

Own = TypeVar("Own", bound="EditFields")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EditFields(ABC):
    """Tensors and settings of an edit, and where it comes from. Equal by identity: tensors have no single equality.

    Args:
        tensors: All that it needs, by name, so that a saved edit needs no other file. Finite, none empty.
        settings: Everything that the method was told, as JSON says it.
        method: How it was found: the name of a method, of a control, or of what was done by hand.
        concepts: The concepts that it erases.
        base_fingerprint: The fingerprint of the model that it was fitted on.
        seed: What decided all that was drawn at random.

    Raises:
        WorkbenchError: For numbers that are not finite, empty tensors, and settings that JSON cannot say.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    seed: int = 0

    kind: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ()  # what `described` adds to the saved fields

    def __post_init__(self) -> None:
        if isinstance(self.concepts, str):
            raise WorkbenchError(f"The concepts {self.concepts!r} are one text.", f"Give a list: [{self.concepts!r}].")
        object.__setattr__(self, "concepts", tuple(self.concepts))
        if isinstance(self.settings, Mapping):
            object.__setattr__(self, "settings", plain(self.settings))
        check_settings(self.settings, named(self))
        check_tensors(self.tensors, named(self))

    def leaves(self) -> Sequence[Edit]:
        """Itself: it is composed of no others."""
        return (self,)

    def check(self, model: Any) -> None:
        """Raises `WorkbenchError` for another model, and for numbers that are not finite any more."""
        check_fingerprint(self, model)
        check_tensors(self.tensors, named(self))

    @abstractmethod
    def installed(self, model: Any) -> AbstractContextManager:
        """In place while the block runs. Checks the model first."""

    def decides(self) -> bool:
        """False: it acts on every prompt alike."""
        return False

    def installed_by(self, model: Any, gates: Gates) -> AbstractContextManager:
        """As `installed`: there is nothing to decide."""
        return self.installed(model)

    @abstractmethod
    def no_op(self: Own) -> Own:
        """An edit in the same place that changes nothing."""

    @abstractmethod
    def random(self: Own, seed: int = 0) -> Own:
        """The control that separates what an edit is about from how much it changes: see `Edit.random`."""

    @abstractmethod
    def rows(self, model: Any = None) -> list[dict[str, Any]]:
        """What is inside, as a table: see `Edit.rows`."""

    @abstractmethod
    def summary(self) -> Summary:
        """What others ask without knowing the kind of edit."""

    def in_weights(self) -> "Sequence[WeightEdit]":
        """Raises `WorkbenchError`: it acts while the model runs."""
        raise WorkbenchError(
            f"{named(self)} acts while the model runs and is not in weights.",
            "Use it with `model.edited(…)` or `--edit`, or bake one of a method that changes weights, such as uce.",
        )

    def described(self) -> dict[str, Any]:
        """What a saved description shows beside the fields.

        Returns:
            JSON values by the names in `shown`. They follow from the tensors, and must agree with them when it is read.
        """
        return {}

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`.

        Args:
            path: The folder.

        Raises:
            WorkbenchError: It exists already, or cannot be written.
        """
        told = {name: getattr(self, name) for name in _saved(type(self))}
        write_edit(path, self.kind, {**told, **self.described()}, self.tensors)

    @classmethod
    def read(cls: type[Own], path: Path) -> Own:
        """Reads what `save` wrote; use `load_edit`, which knows all kinds.

        Args:
            path: The folder.

        Returns:
            The edit.

        Raises:
            WorkbenchError: The folder holds no edit of this kind, or a damaged one.
        """
        saved, tensors = read_edit(path, cls.kind, (*_saved(cls), *cls.shown))
        shown = {name: saved.pop(name) for name in cls.shown}
        edit = cls(**typed(cls, saved, path), tensors=tensors)
        if shown != edit.described():
            raise WorkbenchError(f"The tensors of {path} have other shapes than its description.", "Fit it again.")
        return edit

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.method} of {', '.join(self.concepts)}, {self.summary().changes}>"

    def _repr_html_(self) -> str:
        return html_table(self, self._told())

    def _told(self) -> dict[str, Any]:
        """What the table in a notebook tells of this kind."""
        return {"changes": self.summary().changes}


def _saved(kind: type[EditFields]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if one.name != "tensors")
