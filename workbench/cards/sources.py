"""What folders of `evaluate`, `compare`, `safety` and `protocol` say of one edit: figures, and what they leave open."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from saes.errors import WorkbenchError
from workbench.conditions import UNEDITED, is_method
from workbench.edits import Edit
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.saving import save_edit
from workbench.evaluation.spec import Trial
from workbench.evaluation.tables import metrics
from workbench.protocols.protocol import read_made
from workbench.protocols.running import FIGURES_FILE, FILE, RUN
from workbench.safety.limits import limits
from workbench.safety.running import FILE as SAFETY
from workbench.safety.running import SafetyRun
from workbench.safety.tables import depicted_table, every_judge, safety_table, validity_table

Row = dict[str, Any]
KEPT = (
    "suite", "domain", "task", "concept", "target", "condition", "judge", "metric", "value", "low", "high", "unedited",
    "difference", "difference_low", "difference_high", "floor", "classes", "n", "prompts", "mark",
)  # fmt: skip

_ALONE = ("The protocol's figures are means over all of its targets; these are of this edit's alone.",)


class Found(NamedTuple):
    """What a folder says of an edit.

    Args:
        runs: The runs with the edit.
        figures: Rows with some of `KEPT`.
        limits: What they do not show, in sentences.
    """

    runs: tuple[Run, ...]
    figures: tuple[Row, ...]
    limits: tuple[str, ...]


def found_in(folder: Path, edit: Edit) -> Found:
    """What a folder says of an edit.

    Args:
        folder: Of `workbench evaluate`, `compare`, `safety` or `protocol`.
        edit: The edit.

    Returns:
        What was measured of it.

    Raises:
        WorkbenchError: The folder is none of these, or the edit is in no condition of it.
    """
    key = _hash(edit)
    for file, read in SOURCES.items():
        if (folder / file).is_file():
            found = read(folder, key)
            if not found.figures:
                raise WorkbenchError(f"{folder} has no figure of this edit.", "Give a run of this very edit.")
            return found
    raise WorkbenchError(
        f"{folder} is no folder of evaluate, compare, safety or protocol.", "Give one with figures of the edit."
    )


def _hash(edit: Edit) -> str:
    """What a run calls the edit."""
    with TemporaryDirectory() as folder:
        return save_edit(Path(folder), edit).hash


def _has(trial: Trial, key: str) -> list[str]:
    """The conditions of a trial in which the edit is alone, or one of the fits."""
    return [name for name in trial.conditions if any(fit.hash == key for fit in trial.fits(name))]


def _of_run(folder: Path, key: str) -> Found:
    run = Run.open(folder)
    rows: list[Row] = []
    own = {(trial.suite, trial.concept): _has(trial, key) for trial in run.spec.trials}
    for judge in run.judges:
        for row in metrics(run, judge).to_dict("records"):
            if row["condition"] in own[row["suite"], row["concept"]]:
                rows.append({"judge": judge, **row})
    return Found((run,), _kept(rows), tuple(_open_questions(run, key)))


def _of_safety(folder: Path, key: str) -> Found:
    safety = SafetyRun.open(folder)
    names = {name for run in safety.runs.values() for trial in run.spec.trials for name in _has(trial, key)}
    figures = every_judge(safety)
    shift = depicted_table(safety)
    if len(shift):
        told = "depicted: " + shift["attribute"] + " " + shift["class"]
        shift = shift.assign(domain="fairness", metric=told, judge=next(iter(safety.runs["fairness"].judges)))
    rows = [row for table in (figures, shift) for row in table.to_dict("records") if row["condition"] in names]
    return Found(
        tuple(safety.runs.values()), _kept(rows), tuple(limits(safety, safety_table(safety), validity_table(safety)))
    )


def _of_protocol(folder: Path, key: str) -> Found:
    run, protocol = Run.open(folder / RUN), read_made(folder / FILE)
    if not (folder / FIGURES_FILE).is_file():
        raise WorkbenchError(f"{folder} is not finished.", "Run the same command again: it goes on.")
    own = {trial.suite: _has(trial, key) for trial in run.spec.trials}
    table = pd.read_csv(
        folder / FIGURES_FILE, keep_default_na=False, na_values=dict.fromkeys(("value", "low", "high"), "")
    )
    before = table[table["condition"] == UNEDITED].set_index(["judge", "target", "figure"])["value"].to_dict()
    rows = [
        {**row, "metric": row["figure"], "unedited": before[row["judge"], row["target"], row["figure"]]}
        for row in table.to_dict("records")
        if row["condition"] in own.get(row["target"], ())
    ]
    return Found((run,), _kept(rows), (*_open_questions(run, key), *protocol.differs, *_ALONE))


def _open_questions(run: Run, key: str) -> list[str]:
    """What a run of `evaluate` leaves open."""
    results, said = Results.of(run), list[str]()
    conditions = dict.fromkeys(name for trial in run.spec.trials for name in _has(trial, key))
    controls = [name for trial in run.spec.trials for name, edit in trial.conditions.items() if edit is not None]
    if not any(role.adversarial for role in run.spec.roles):
        said.append("Nobody attacked the edit: what comes back under an attack is not known.")
    if all(is_method(name) for name in controls):
        said.append("No control of equal size stands beside it.")
    if len(run.judges) == 1:
        said.append(f"One judge looked ({results.judge.name}); where it errs, the figures do.")
    if not results.judge.validated:
        said.append(f"The judge {results.judge.name} is not validated on such pictures.")
    if any(not trial.refits.get(name) for trial in run.spec.trials for name in conditions if name in trial.conditions):
        said.append("One fit was measured: how far another seed's would differ is not known.")
    roles = set(run.spec.roles_by_name)
    if not {"synonym", "implied"} & roles:
        said.append("No prompt asks for the concept in other words.")
    return said


def _kept(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The columns that say something."""
    return tuple({name: row[name] for name in KEPT if name in row and row[name] != ""} for row in rows)


SOURCES: dict[str, Callable[[Path, str], Found]] = {
    SAFETY: _of_safety,
    FILE: _of_protocol,
    "run.json": _of_run,
}
