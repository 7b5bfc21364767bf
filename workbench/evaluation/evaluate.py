"""Evaluation: every condition of a trial makes the same prompts with the same seeds, then a judge looks at all images.

The unedited model goes first and must pass the judge's floor, so that a hopeless evaluation ends early. Conditions
are compared pairwise at equal prompt and seed; controls (a no-op edit, random features) are ordinary conditions.
"""

import hashlib
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np

from saes.disk import sha256_of
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.edits import Edit
from workbench.edits.conditions import UNEDITED
from workbench.evaluation.judges import Judge, check_floor, check_knows, shown
from workbench.evaluation.judging import Scored, score_images, write_records
from workbench.evaluation.runs import Cell, EditSpec, ModelSpec, Row, Run, RunSpec, Sampling, Trial, cell
from workbench.evaluation.suites import Suite
from workbench.models import Model

FLOOR = 0.5
PACKAGES = ("torch", "diffusers", "transformers", "sae-lens", "numpy")
Conditions = Mapping[str, Edit | None]


def evaluate(
    model: Model,
    edits: Conditions,
    suite: Suite,
    judge: Judge,
    out_dir: Path | str,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = 16,
    floor: float = FLOOR,
    progress: Progress = SILENT,
) -> Run:
    """Evaluates edits that erase one concept. See `evaluate_concepts`."""
    return evaluate_concepts(
        model, [(suite, edits)], judge, out_dir,
        steps=steps, guidance_scale=guidance_scale, batch_size=batch_size, floor=floor, progress=progress,
    )  # fmt: skip


def evaluate_concepts(
    model: Model,
    trials: Sequence[tuple[Suite, Conditions]],
    judge: Judge,
    out_dir: Path | str,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = 16,
    floor: float = FLOOR,
    question: str = "",
    progress: Progress = SILENT,
) -> Run:
    """Evaluates several concepts in one run, each with its own suite and conditions.

    The condition "unedited" is always there, first. Images on which trials or conditions agree are made once. Steps
    and guidance are the model's defaults unless given. Repeated after a kill with the same arguments and folder, it
    goes on where it stopped. `floor` is the least share of unedited images in which the judge must find what the
    prompts name (prompts that only imply it are not counted). `question` is what the run is to answer, for its report.
    """
    model.check_unedited("An evaluation")
    for suite, _ in trials:
        check_knows(judge, suite.concepts)
    if len({(suite.name, suite.target) for suite, _ in trials}) < len(trials):
        raise WorkbenchError("Two suites have one name and one target.", "Name each suite differently.")
    specs = _save_edits(Path(out_dir), model, trials)
    run = Run.begin(out_dir, _run_spec(model, trials, specs, steps, guidance_scale, question))
    edits: dict[str, Edit | None] = {"": None}
    edits |= {specs[id(edit)].hash: edit for _, some in trials for edit in some.values() if edit is not None}
    cells = run.spec.cells()
    scored = Scored()
    for edit_hash, edit in edits.items():
        own = [c for c in cells if c.edit == edit_hash]
        _generate(model, run, edit, run.missing(own), batch_size, progress)
        score_images(run, [c.key for c in own], judge, scored, progress)
        if edit is None:
            _check_judge(run, judge, scored, floor)
    write_records(run, judge, scored)
    return run


def _generate(
    model: Model, run: Run, edit: Edit | None, missing: list[Cell], batch_size: int, progress: Progress
) -> None:
    label = "unedited images" if edit is None else f"images with {edit.method}"
    sampling, starts = run.spec.sampling, range(0, len(missing), batch_size)
    with model.edited(edit) if edit is not None and missing else nullcontext():
        for start in progress(starts, label) if missing else ():
            batch = missing[start : start + batch_size]
            began = time.perf_counter()
            images = model.generate(
                [c.prompt for c in batch], [c.seed for c in batch],
                steps=sampling.steps, guidance_scale=sampling.guidance_scale,
                negative_prompt=sampling.negative_prompt, batch_size=batch_size,
            )  # fmt: skip
            seconds = (time.perf_counter() - began) / len(batch)
            for one, image in zip(batch, np.asarray(images), strict=True):
                run.write_image(one, image, seconds)


def _check_judge(run: Run, judge: Judge, scored: Scored, floor: float) -> None:
    spec, found = run.spec, []
    for trial in spec.trials:
        for row in trial.rows:
            if row.expected and row.role != "implied":
                key = cell(spec.model, spec.sampling, None, row.prompt, row.seed).key
                found.append(shown(scored.of([key]), judge, row.expected, intact_only=True)[0])
    check_floor(judge, np.array(found, dtype=bool), floor)


def _run_spec(
    model: Model,
    trials: Sequence[tuple[Suite, Conditions]],
    specs: Mapping[int, EditSpec],
    steps: int | None,
    guidance_scale: float | None,
    question: str,
) -> RunSpec:
    return RunSpec(
        model=ModelSpec.of(model),
        sampling=Sampling(
            steps=model.defaults.steps if steps is None else steps,
            guidance_scale=model.defaults.guidance_scale if guidance_scale is None else guidance_scale,
        ),
        trials=tuple(_trial(suite, edits, specs) for suite, edits in trials),
        question=question,
        environment=environment(),
        command=shlex.join(sys.argv),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _trial(suite: Suite, edits: Conditions, specs: Mapping[int, EditSpec]) -> Trial:
    if edits.get(UNEDITED) is not None:
        raise WorkbenchError(f"The condition {UNEDITED!r} cannot have an edit.", "Give the edit another name.")
    conditions = {name: specs[id(edit)] if edit is not None else None for name, edit in edits.items()}
    rows = tuple(Row(prompt=r.prompt, role=r.role, expected=r.expected, seed=r.seed) for r in suite.rows)
    return Trial(
        suite=suite.name, concept=suite.target, anchor=suite.anchor, dropped=suite.dropped, rows=rows,
        conditions={UNEDITED: None, **conditions},
    )  # fmt: skip


def _save_edits(out_dir: Path, model: Model, trials: Sequence[tuple[Suite, Conditions]]) -> dict[int, EditSpec]:
    """Saves each edit under the hash of its files. By `id`, for edits hold tensors and need not be hashable."""
    edits = {id(edit): edit for _, some in trials for edit in some.values() if edit is not None}
    for edit in edits.values():
        edit.check(model)
    return {key: save_edit(out_dir / "edits", edit) for key, edit in edits.items()}


def save_edit(edits_dir: Path, edit: Edit) -> EditSpec:
    """Saves an edit as `edits_dir/<hash>`, unless the same is there already."""
    fresh = edits_dir / f".{uuid4().hex[:8]}.part"
    try:
        edit.save(fresh)
        hashes = [f"{path.relative_to(fresh)} {sha256_of(path)}" for path in sorted(fresh.rglob("*")) if path.is_file()]
        name = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]
        if not (edits_dir / name).exists():
            fresh.rename(edits_dir / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return EditSpec(
        hash=name, kind=edit.kind, method=edit.method, concepts=tuple(edit.concepts), settings=dict(edit.settings),
        seed=edit.seed,
    )  # fmt: skip


def environment() -> dict[str, str]:
    """What the images may depend on beside the model: versions, and the machine."""
    machine = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return {**machine, **{package: version(package) for package in PACKAGES}}
