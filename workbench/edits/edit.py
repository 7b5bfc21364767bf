"""What every edit is, whatever it changes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from saes.errors import WorkbenchError
from workbench.models import Model


@runtime_checkable
class Edit(Protocol):
    """A value that changes what a model does while it is in place: `with model.edited(edit): …`.

    `kind` says what is changed, `method` how it was found, `settings` everything that the method was told (JSON),
    `base_fingerprint` on which model it was fitted.
    """

    @property
    def kind(self) -> str: ...

    @property
    def method(self) -> str: ...

    @property
    def concepts(self) -> Sequence[str]: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def base_fingerprint(self) -> str: ...

    @property
    def seed(self) -> int: ...

    def check(self, model: Any) -> None:
        """Raises `WorkbenchError` if the edit was fitted on another model or does not fit its shapes."""
        ...

    def installed(self, model: Any) -> AbstractContextManager:
        """In place while the block runs. Checks the model first."""
        ...

    def save(self, path: Path | str) -> None:
        """Writes a new folder, whole or not at all; refused if it exists."""
        ...


def check_fingerprint(edit: Edit, model: Model) -> None:
    """Raises `WorkbenchError` unless the edit was fitted on exactly these weights."""
    if edit.base_fingerprint != model.fingerprint:
        raise WorkbenchError(
            f"The {edit.method} edit of {', '.join(edit.concepts)} was fitted on another model "
            f"({edit.base_fingerprint[:12]}…) than {model.name} ({model.fingerprint[:12]}…).",
            "Load the model that it was fitted on, or fit the method on this one.",
        )


def html_table(edit: Edit, more: Mapping[str, Any]) -> str:
    """An edit as a small table for notebooks."""
    rows = {"concepts": ", ".join(edit.concepts), **more, "seed": edit.seed, "model": edit.base_fingerprint[:12]}
    rows |= edit.settings
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table><caption>{escape(edit.method)} ({escape(edit.kind)} edit)</caption>{cells}</table>"
