"""What each method of a run costs: the time of its fits, the size of its edits, and the time of an image with them."""

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

import pandas as pd

from workbench.comparison.fits import fit_seconds
from workbench.conditions import UNEDITED, is_method
from workbench.edits import Edit, load_edit
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec


class Cost(NamedTuple):
    """One method. `fit` and `size` are of one edit, the median and, in `fits`, the range over the concepts; `chosen_on`
    says on what its settings were chosen, "" if nobody said so."""

    condition: str
    changes: str
    fit: str
    fits: str
    size: str
    image: str
    chosen_on: str


def costs(results: Results) -> list[Cost]:
    """What each method of a run costs.

    Args:
        results: Of a comparison, or of any run with edits.

    Returns:
        A row for each method; times that were not measured are dashes.
    """
    run, seconds = results.run, fit_seconds(results.run.dir)
    images = results.records.groupby("condition")["seconds"].median()
    return [
        _cost(run, name, edits, [seconds[edit.hash] for edit in edits if edit.hash in seconds], images)
        for name, edits in _methods(run).items()
    ]


def _methods(run: Run) -> dict[str, list[EditSpec]]:
    """The different edits of each method."""
    found: dict[str, dict[str, EditSpec]] = {}
    for trial in run.spec.trials:
        for name, edit in trial.conditions.items():
            if edit and is_method(name):
                found.setdefault(name, {})[edit.hash] = edit
    return {name: list(edits.values()) for name, edits in found.items()}


def _cost(run: Run, name: str, edits: list[EditSpec], seconds: list[float], images: pd.Series) -> Cost:
    folders = [run.dir / "edits" / edit.hash for edit in edits]
    sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
    known = all((folder / "edit.json").is_file() for folder in folders)
    return Cost(
        name,
        changes([load_edit(folder) for folder in folders]) if known else "",
        duration(median(seconds)) if seconds else "–",
        f"{duration(min(seconds))} – {duration(max(seconds))}" if len(seconds) > 1 else "",
        f"{median(sizes) / 1e6:.2g} MB" if known else "–",
        f"{images[name] / images[UNEDITED]:.2f} ×",
        run.spec.chosen_on.get(name, ""),
    )


def changes(edits: Iterable[Edit]) -> str:
    """What edits of one method change, in words.

    Args:
        edits: Of one method.

    Returns:
        What their summaries say, each once.
    """
    return "; ".join(dict.fromkeys(edit.summary().changes for edit in edits))


def duration(seconds: float) -> str:
    """Seconds as a reader wants them.

    Args:
        seconds: 0 or more.

    Returns:
        Such as "0.42 s", "12 s", "3.5 min".
    """
    return f"{seconds / 60:.2g} min" if seconds >= 100 else f"{seconds:.2g} s"
