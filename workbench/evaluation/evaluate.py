"""Evaluation: every condition of a trial makes the same prompts with the same seeds, then a judge looks at all images.

The unedited model goes first and must pass the judge's floor, so that a hopeless evaluation ends early. Conditions
are compared pairwise at equal prompt and seed; controls (a no-op edit, random features) are ordinary conditions.
"""

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from saes.errors import WorkbenchError, unknown_name
from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.claims import UNFINISHED, sweep_unfinished
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.evaluation.input_checks import check_inputs
from workbench.evaluation.inputs import keep_inputs
from workbench.evaluation.judges import Judge, check_floor, check_knows, shown
from workbench.evaluation.judging import keep, seen_before
from workbench.evaluation.making import make_missing
from workbench.evaluation.roles import joined_roles
from workbench.evaluation.runs import Run
from workbench.evaluation.saving import saving
from workbench.evaluation.scoring import Scored
from workbench.evaluation.spec import EditSpec, Length, ModelSpec, Row, RunSpec, Settings, Trial
from workbench.evaluation.suites import Suite
from workbench.models import Model
from workbench.settings import settled

FLOOR = 0.5
PACKAGES = ("torch", "diffusers", "transformers", "sae-lens", "numpy")
Conditions = Mapping[str, Edit | None]
FittedConditions = Mapping[str, Edit | tuple[Edit, ...] | None]
"""Edits by the names of their conditions; several are fits with other seeds, of which each makes its share of the
prompts (`Trial.shares`)."""
Lengths = Mapping[str, dict[str, tuple[Length, ...]]]


def evaluate(
    model: Model,
    edits: FittedConditions,
    suite: Suite,
    judge: Judge,
    out_dir: Path | str,
    *,
    batch_size: int = 16,
    floor: float = FLOOR,
    progress: Progress = SILENT,
    **settings: Any,
) -> Run:
    """Evaluates edits that erase one concept. See `evaluate_concepts`."""
    return evaluate_concepts(
        model, [(suite, edits)], judge, out_dir, batch_size=batch_size, floor=floor, progress=progress, **settings
    )


def evaluate_concepts(
    model: Model,
    trials: Sequence[tuple[Suite, FittedConditions]],
    judge: Judge,
    out_dir: Path | str,
    *,
    batch_size: int = 16,
    floor: float = FLOOR,
    question: str = "",
    chosen_on: Mapping[str, str] | None = None,
    lengths: Lengths | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Run:
    """Evaluates several concepts in one run, each with its own suite and conditions.

    Images on which trials or conditions agree are made once. Repeated after a kill with the same arguments and folder,
    it goes on where it stopped, and makes the same bits.

    Args:
        model: The model, without any edit.
        trials: Suites, each with its edits by the names of their conditions. The condition "unedited" is always there,
            first. Two suites may be about one concept, if their names differ.
        judge: Who looks at the images. It must know every concept of the suites.
        out_dir: Folder of the run. Several processes may work on it at the same time; the last one sweeps what killed
            ones left.
        batch_size: Images made at once.
        floor: The least share of unedited images in which the judge must find what the prompts name, 0 to 1. Prompts
            that only imply it are not counted.
        question: What the run is to answer, for its report.
        chosen_on: Condition → on what its settings were chosen, for its tables.
        lengths: Condition → concept → how long each of its fits was let go on, for its tables.
        progress: Shows what is being made.
        **settings: How images are sampled, such as `steps` and `guidance_scale`: what `model.settings` declares, which
            also has the defaults.

    Returns:
        The finished run.

    Raises:
        WorkbenchError: Something does not fit together, before any image is made; or the judge is below the floor.
    """
    model.check_unedited("An evaluation")
    for suite, _ in trials:
        check_knows(judge, suite.concepts)
        check_inputs(model, suite)
    if len({(suite.name, suite.target) for suite, _ in trials}) < len(trials):
        raise WorkbenchError("Two suites have one name and one target.", "Name each suite differently.")
    known = settled(model.settings, settings)
    with working_in(out_dir, together=True):
        edits = _distinct(model, [own for _, own in trials])
        with saving(Path(out_dir), list(edits.values())) as specs:
            saved = dict(zip(edits, specs, strict=True))
            conditions = [{name: [saved[id(fit)] for fit in fits(own[name])] for name in own} for _, own in trials]
            spec = _run_spec(model, [suite for suite, _ in trials], conditions, known)
            told = {"question": question, "chosen_on": dict(chosen_on or {}), "lengths": dict(lengths or {})}
            run = Run.begin(out_dir, spec.model_copy(update=told))
        keep_inputs(run.dir, {name: prompt for suite, _ in trials for name, prompt in suite.inputs.items()})
        by_hash = {saved[key].hash: edit for key, edit in edits.items()}
        _finish(model, run, by_hash, judge, batch_size, floor, progress)
    return run


def _finish(
    model: Model, run: Run, edits: Mapping[str, Edit], judge: Judge, batch_size: int, floor: float, progress: Progress
) -> None:
    """Makes what is missing and lets the judge look; the unedited model first."""
    cells, scored = run.spec.cells(), seen_before(run, judge)
    for edit_hash, edit in {"": None, **edits}.items():
        own = [one for one in cells if one.edit == edit_hash]
        make_missing(model, run, edit, own, batch_size, scored.look, progress)
        scored.read(own, progress)
        if edit is None:
            _check_judge(run, scored, floor)
    sweep_unfinished(run.dir / UNFINISHED)
    keep(scored)


def _check_judge(run: Run, scored: Scored, floor: float) -> None:
    found, roles = [], run.spec.roles_by_name
    for row in (row for trial in run.spec.trials for row in trial.rows):
        if row.expected and roles[row.role].named:
            key = run.spec.cell(None, row).key
            found.append(shown(scored.of([key]), scored.spec, row.expected, intact_only=True)[0])
    check_floor(scored.spec, np.array(found, dtype=bool), floor)


def _run_spec(
    model: Model,
    suites: Sequence[Suite],
    conditions: Sequence[dict[str, list[EditSpec]]],
    settings: Settings,
) -> RunSpec:
    roles = joined_roles(suite.known_roles[row.role] for suite in suites for row in suite.rows)
    return RunSpec(
        model=ModelSpec.of(model),
        settings=dict(settings),
        roles=tuple(roles.values()),
        trials=tuple(_trial(suite, own) for suite, own in zip(suites, conditions, strict=True)),
        environment=environment(),
        command=shlex.join(sys.argv),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def fits(given: Edit | tuple[Edit, ...] | None) -> tuple[Edit, ...]:
    """The edits of a condition, as `FittedConditions` gives them."""
    return given if isinstance(given, tuple) else () if given is None else (given,)


def _trial(suite: Suite, conditions: dict[str, list[EditSpec]]) -> Trial:
    for row in suite.rows:
        if row.condition and row.condition not in conditions:
            raise unknown_name(f"condition of the suite {suite.name}", row.condition, conditions)
    for name in conditions:
        if all(row.condition not in ("", name) for row in suite.rows):
            raise WorkbenchError(f"The suite {suite.name!r} has no prompts for {name!r}.", "Add some, or leave it out.")
    return Trial(
        suite=suite.name, concept=suite.target, anchor=suite.anchor, dropped=suite.dropped,
        rows=tuple(Row(**asdict(row)) for row in suite.rows),
        conditions={UNEDITED: None, **{name: next(iter(found), None) for name, found in conditions.items()}},
        refits={name: tuple(found[1:]) for name, found in conditions.items() if len(found) > 1},
    )  # fmt: skip


def _distinct(model: Model, trials: Sequence[FittedConditions]) -> dict[int, Edit]:
    """The edits of all conditions, each once, by their `id`. Raises `WorkbenchError` for those that do not fit."""
    if any(conditions.get(UNEDITED) is not None for conditions in trials):
        raise WorkbenchError(f"The condition {UNEDITED!r} cannot have an edit.", "Give the edit another name.")
    edits = {id(edit): edit for conditions in trials for given in conditions.values() for edit in fits(given)}
    for edit in edits.values():
        edit.check(model)
    return edits


def environment() -> dict[str, str]:
    """What the images may depend on beside the model: versions, and the machine."""
    machine = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return {**machine, **{package: version(package) for package in PACKAGES}}
