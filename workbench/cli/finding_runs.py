"""Which run a folder means: itself, the one below it, or a list of those that are there."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from saes.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.models import Model

RUN = "run.json"
LISTED = 12  # runs that a sentence names


def run_in(folder: Path) -> Path:
    """The run that is meant by a folder.

    Args:
        folder: A run, or a folder with one below it.

    Returns:
        The folder of the run; another than was given is told on the error stream.

    Raises:
        WorkbenchError: There is none below it, or several: they are listed.
    """
    found = sorted(runs_below(folder))
    if not found:
        raise WorkbenchError(
            f"{folder} is not a run folder, and no run is below it.", "Make one with workbench evaluate or compare."
        )
    if len(found) > 1:
        names = ", ".join(map(str, found[:LISTED])) + (" …" if len(found) > LISTED else "")
        raise WorkbenchError(f"{len(found)} runs are below {folder}: {names}.", "Name one of them.")
    if found[0] != folder:
        typer.echo(f"The run below {folder} is {found[0]}.", err=True)
    return found[0]


def runs_below(folder: Path) -> Iterator[Path]:
    """The runs in a folder, itself among them; what is inside a run is part of it.

    Args:
        folder: Any.

    Yields:
        Folders with a run.json.
    """
    for place, folders, files in os.walk(folder):
        if RUN in files:
            folders.clear()
            yield Path(place)


def sampling_of(run: Path | None, model: "Model") -> dict[str, Any]:
    """How a run samples its pictures.

    Args:
        run: The run, or a folder with one below it; None: as the model does by default.
        model: Has to be the run's.

    Returns:
        Arguments of `model.generate`.

    Raises:
        WorkbenchError: There is no such run, or it was made by another model.
    """
    if run is None:
        return {}
    import workbench as wb

    opened = wb.Run.open(run_in(run))
    opened.check_model(model)
    return dict(opened.spec.settings)
