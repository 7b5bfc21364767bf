"""Several edits as one: what was erased one after another is saved, evaluated and taken back as a single value."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from saes.disk import new_folder, read_json, write_json
from saes.errors import WorkbenchError
from workbench.edits.edit import Edit, Summary, html_table
from workbench.edits.files import DESCRIPTION, FORMAT, check_kind, load_edit
from workbench.edits.gates import Gates
from workbench.edits.weight import WeightEdit
from workbench.models import Model


@dataclass(frozen=True, eq=False, repr=False)
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
        """That of all parts."""
        return self.parts[0].base_fingerprint

    @property
    def seed(self) -> int:
        """That of the first part."""
        return self.parts[0].seed

    def leaves(self) -> tuple[Edit, ...]:
        """The parts, and in the place of composed ones their leaves."""
        return tuple(leaf for part in self.parts for leaf in part.leaves())

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

    def decides(self) -> bool:
        """Whether a part does."""
        return any(part.decides() for part in self.parts)

    @contextmanager
    def installed_by(self, model: Model, gates: Gates) -> Iterator[None]:
        """All parts, in their order; the same gates decide for each."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.installed_by(model, gates))
            yield

    def no_op(self) -> "ComposedEdit":
        """The no-op of each part."""
        return ComposedEdit([part.no_op() for part in self.parts])

    def random(self, seed: int = 0) -> "ComposedEdit":
        """The random control of each part, all with the same seed."""
        return ComposedEdit([part.random(seed) for part in self.parts])

    def rows(self, model: Model | None = None) -> list[dict[str, Any]]:
        """The rows of all parts, in their order."""
        return [row for part in self.parts for row in part.rows(model)]

    def summary(self) -> Summary:
        """What the parts change; the control is called as that of the first."""
        parts = [part.summary() for part in self.parts]
        return Summary(
            changes=f"{len(parts)} edits: " + "; ".join(dict.fromkeys(part.changes for part in parts)),
            control=parts[0].control,
            features=tuple(one for part in parts for one in part.features),
            in_weights=all(part.in_weights for part in parts),
        )

    def in_weights(self) -> list[WeightEdit]:
        """Those of all parts. Raises `WorkbenchError` if one acts while the model runs."""
        return [edit for part in self.parts for edit in part.in_weights()]

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and a folder for each part; refused if it exists."""
        with new_folder(path) as folder:
            for place, part in enumerate(self.parts):
                part.save(folder / str(place))
            write_json(folder / DESCRIPTION, {"format": FORMAT, "kind": self.kind, "parts": len(self.parts)})

    @classmethod
    def read(cls, path: Path) -> "ComposedEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds. Raises `WorkbenchError` if it is damaged."""
        check_kind(path, cls.kind)
        described = read_json(path / DESCRIPTION, ("format", "kind", "parts"))
        parts = described["parts"]
        if not isinstance(parts, int) or isinstance(parts, bool) or parts < 1:
            raise WorkbenchError(f"{path / DESCRIPTION}: parts is {parts!r}.", "Take another copy, or fit it again.")
        return cls([load_edit(path / str(place)) for place in range(parts)])

    def __repr__(self) -> str:
        return f"<ComposedEdit: {self.method} of {', '.join(self.concepts)}, {self.summary().changes}>"

    def _repr_html_(self) -> str:
        return html_table(
            self, {"parts": " → ".join(f"{part.method} of {', '.join(part.concepts)}" for part in self.parts)}
        )
