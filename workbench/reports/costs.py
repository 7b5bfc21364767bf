"""What each method of a run costs: the time of its fits, the size of its edits, and the time of an image with them."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

import pandas as pd

from workbench.comparison.fits import fit_seconds
from workbench.conditions import UNEDITED, is_method
from workbench.edits import Edit, load_edit
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec
from workbench.evaluation.tables import choices
from workbench.progress import duration


class Cost(NamedTuple):
    """One method. `fit` and `size` are of one edit, the median and, in `fits`, the range over concepts and seeds;
    `chosen_on` says on what its settings were chosen, `length` how long it was trained where a rule chose that; "" if
    nobody said so."""

    condition: str
    changes: str
    fit: str
    fits: str
    size: str
    image: str
    chosen_on: str
    length: str


def costs(results: Results) -> list[Cost]:
    """What each method of a run costs.

    Args:
        results: Of a comparison, or of any run with edits.

    Returns:
        A row for each method; times that were not measured are dashes.
    """
    run, seconds = results.run, fit_seconds(results.run.dir)
    images = results.records.groupby("condition")["seconds"].median()
    chosen = choices(results).drop_duplicates("condition").set_index("condition")
    return [_cost(run, name, edits, seconds, images, chosen.loc[name]) for name, edits in _methods(run).items()]


def _methods(run: Run) -> dict[str, list[EditSpec]]:
    """The different edits of each method."""
    found: dict[str, dict[str, EditSpec]] = {}
    for trial in run.spec.trials:
        for name in filter(is_method, trial.conditions):
            for edit in trial.fits(name):
                found.setdefault(name, {})[edit.hash] = edit
    return {name: list(edits.values()) for name, edits in found.items()}


def _cost(
    run: Run, name: str, edits: list[EditSpec], seconds: Mapping[str, float], images: pd.Series, chosen: pd.Series
) -> Cost:
    took = [seconds[edit.hash] for edit in edits if edit.hash in seconds]
    folders = [run.dir / "edits" / edit.hash for edit in edits]
    sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
    known = all((folder / "edit.json").is_file() for folder in folders)
    return Cost(
        name,
        changes([load_edit(folder) for folder in folders]) if known else "",
        duration(median(took)) if took else "–",
        f"{duration(min(took))} – {duration(max(took))}" if len(took) > 1 else "",
        f"{median(sizes) / 1e6:.2g} MB" if known else "–",
        f"{images[name] / images[UNEDITED]:.2f} ×",
        chosen["chosen_on"],
        length(chosen),
    )


def length(chosen: pd.Series) -> str:
    """How long a method was trained, in words.

    Args:
        chosen: A row of `choices(run)`.

    Returns:
        Such as "50 % (25–100 %)", the median with the range, and how many fits are unmet; "" where no rule chose it.
    """
    shares = [f"{100 * chosen[name]:.0f}" for name in ("length", "length_low", "length_high")]
    if pd.isna(chosen["length"]):
        return ""
    middle, low, high = shares
    text = f"{middle}\u202f%" if low == high else f"{middle}\u202f% ({low}–{high}\u202f%)"
    return text + (f"; not enough in {chosen['unmet']} of {chosen['stopped']} fits" if chosen["unmet"] else "")


def changes(edits: Iterable[Edit]) -> str:
    """What edits of one method change, in words.

    Args:
        edits: Of one method.

    Returns:
        What their summaries say, each once.
    """
    return "; ".join(dict.fromkeys(edit.summary().changes for edit in edits))
