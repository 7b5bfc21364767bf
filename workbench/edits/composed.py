"""Several edits as one: what was erased one after another is saved, evaluated and taken back as a single value."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from saes.disk import new_folder, read_json, write_json
from saes.errors import WorkbenchError
from workbench.edits.edit import Edit, html_table
from workbench.edits.files import DESCRIPTION, FORMAT, load_edit
from workbench.models import Model


@dataclass(frozen=True, eq=False)
class ComposedEdit:
    """The parts in place together, in their order: the same as `model.edited(*parts)`.

    Raises `WorkbenchError` without parts, and for parts that were fitted on different models.
    """

    parts: Sequence[Edit]

    kind: ClassVar[str] = "composed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if len({part.base_fingerprint for part in self.parts}) != 1:
            raise WorkbenchError(
                f"{len(self.parts)} edits of different models cannot be composed."
                if self.parts
                else "There are no edits to compose.",
                "Give at least one, all fitted on one model.",
            )

    @property
    def method(self) -> str:
        """The methods of the parts, each once."""
        return " + ".join(dict.fromkeys(part.method for part in self.parts))

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concepts of all parts, in the order of their erasure."""
        return tuple(dict.fromkeys(concept for part in self.parts for concept in part.concepts))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the parts, in their order."""
        return {"parts": [dict(part.settings) for part in self.parts]}

    @property
    def base_fingerprint(self) -> str:
        return self.parts[0].base_fingerprint

    @property
    def seed(self) -> int:
        return self.parts[0].seed

    def check(self, model: Model) -> None:
        """Raises what the first part raises that does not fit the model."""
        for part in self.parts:
            part.check(model)

    @contextmanager
    def installed(self, model: Model) -> Iterator[None]:
        """All parts, in their order."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.installed(model))
            yield

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and a folder for each part; refused if it exists."""
        with new_folder(path) as folder:
            for place, part in enumerate(self.parts):
                part.save(folder / str(place))
            write_json(folder / DESCRIPTION, {"format": FORMAT, "kind": self.kind, "parts": len(self.parts)})

    @classmethod
    def read(cls, path: Path) -> "ComposedEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        described: Mapping[str, Any] = read_json(path / DESCRIPTION, ("format", "kind", "parts"))
        return cls([load_edit(path / str(place)) for place in range(described["parts"])])

    def _repr_html_(self) -> str:
        return html_table(
            self, {"parts": " → ".join(f"{part.method} of {', '.join(part.concepts)}" for part in self.parts)}
        )


def leaves(edit: Edit) -> list[Edit]:
    """The edits that are composed, in their order, without any composition; an edit that is none is its own leaf."""
    return [leaf for part in edit.parts for leaf in leaves(part)] if isinstance(edit, ComposedEdit) else [edit]
