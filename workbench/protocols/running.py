"""A protocol on a model and edits: a run of `evaluate`, and the table of the figures that the protocol defines.

protocol.json    the protocol, and which edits stood for which condition
run/             a run folder; `workbench judge` adds a judge to it and makes no picture
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saes.disk import write_json
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.edits.composed import ComposedEdit
from workbench.evaluation.clip import Clip
from workbench.evaluation.clip_score import per_picture
from workbench.evaluation.evaluate import evaluate_concepts
from workbench.evaluation.judges import Judge
from workbench.evaluation.judging import judge as look
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite
from workbench.models import Model
from workbench.protocols.asking import suite_for
from workbench.protocols.figures import figures_of
from workbench.protocols.protocol import Protocol, read_made
from workbench.protocols.reading import check_reads, read
from workbench.settings import settled

FILE, RUN, FIGURES_FILE = "protocol.json", "run", "figures.csv"
ALL = "all"  # targets together

Trials = list[tuple[Suite, dict[str, Edit]]]


def trials_of(
    protocol: Protocol, edits: Mapping[str, Edit], listed: Path | None = None, targets: Sequence[str] = ()
) -> Trials:
    """What a protocol asks about edits.

    Args:
        protocol: The protocol.
        edits: Edits by name; each is about the concepts that it erases. Those of one method are one condition, which
            is called like it; of an ordered protocol each is a step, put in place after those before it.
        listed: The list of a protocol that needs one.
        targets: The targets that edits are about, where there are none or they call them otherwise.

    Returns:
        For each target its suite and its edits by condition.

    Raises:
        WorkbenchError: Nothing is erased, two edits of one method erase the same concept, or as `suite_for`.
    """
    erased = list(targets) or list(dict.fromkeys(concept for edit in edits.values() for concept in edit.concepts))
    if not erased:
        raise WorkbenchError("Nothing is erased.", "Name an edit with --edit, or the target with --target.")
    steps = _steps(edits) if protocol.ordered else {}
    trials: Trials = []
    for target in erased:
        own = steps or _by_method(edits, target, bool(targets))
        together = {target} | {concept for edit in own.values() for concept in edit.concepts}
        trials.append((suite_for(protocol, target, together, listed), own))
    return trials


def _steps(edits: Mapping[str, Edit]) -> dict[str, Edit]:
    """The first edit, the first two, and so on."""
    parts, steps = list(edits.values()), dict[str, Edit]()
    for n in range(1, len(parts) + 1):
        name = f"{n}: {' + '.join(concept for part in parts[:n] for concept in part.concepts)}"
        steps[name] = parts[0] if n == 1 else ComposedEdit(parts[:n])
    return steps


def _by_method(edits: Mapping[str, Edit], target: str, named: bool) -> dict[str, Edit]:
    found: dict[str, Edit] = {}
    for name, edit in edits.items():
        if (named or target in edit.concepts) and found.setdefault(edit.method, edit) is not edit:
            raise WorkbenchError(
                f"{name} is a second edit of {edit.method} that erases {target!r}.", "Run the protocol on one of them."
            )
    return found


def run_protocol(
    model: Model,
    protocol: Protocol,
    trials: Trials,
    judges: Sequence[Judge],
    out_dir: Path | str,
    *,
    batch_size: int = 16,
    progress: Progress = SILENT,
    **settings: Any,
) -> Run:
    """Makes and judges the pictures of a protocol. Repeated, it goes on where it stopped.

    Args:
        model: The model, without any edit.
        protocol: The protocol.
        trials: From `trials_of`.
        judges: Who looks; at least one.
        out_dir: Folder.
        batch_size: Images made at once.
        progress: Shows what is made.
        **settings: How images are sampled, in the place of what the protocol says.

    Returns:
        The finished run.

    Raises:
        WorkbenchError: Something does not fit together, before any image is made.
    """
    if not judges:
        raise WorkbenchError("Nobody judges.", f"Name a judge with --judge: {protocol.judge}.")
    for judge in judges:
        check_reads(protocol, [suite for suite, _ in trials], judge)
        if protocol.reads == "clip" and not isinstance(judge, Clip):
            raise WorkbenchError(f"The judge {judge.name} is no CLIP.", "Name one: clip, clip:FOLDER or clip:HUB/ID.")
    known = settled(model.settings, {**protocol.sampling, **settings})
    out_dir = Path(out_dir)
    _begin(out_dir, protocol)
    first, *others = judges
    run = evaluate_concepts(
        model, trials, first, out_dir / RUN, batch_size=batch_size, floor=0.0, progress=progress, **known
    )
    for other in others:
        look(run, other, progress=progress)
    return run


def protocol_table(protocol: Protocol, run: Run, judges: Sequence[Judge]) -> pd.DataFrame:
    """The figures of each condition.

    Args:
        protocol: The protocol.
        run: Its finished run.
        judges: Whose figures.

    Returns:
        A row for each judge, condition, target (and `ALL` of several, but of ordered edits) and figure: value, low and
        high (95 %), n pictures of `prompts` prompts, `targets`, and why there is no value (mark).
    """
    rows: list[dict[str, Any]] = []
    for judge in judges:
        name = run.name_of(judge)
        results = Results.of(run, name)
        cosines = per_picture(run, judge) if protocol.reads == "clip" and isinstance(judge, Clip) else None
        conditions = dict.fromkeys(name for trial in run.spec.trials for name in trial.conditions)
        for condition in conditions:
            places = [place for place, trial in enumerate(run.spec.trials) if condition in trial.conditions]
            after, before = (
                {place: read(protocol, results, place, one, cosines) for place in places}
                for one in (condition, UNEDITED)
            )
            groups = {run.spec.trials[place].suite: [place] for place in places}
            if len(places) > 1 and not protocol.ordered:
                groups[ALL] = places
            for target, own in groups.items():
                values = figures_of(protocol.figures, [after[one] for one in own], [before[one] for one in own])
                about = {"judge": name, "condition": condition, "target": target, "targets": len(own)}
                rows += [{**about, "figure": figure, **value._asdict()} for figure, value in values.items()]
    return pd.DataFrame(rows)


def _begin(dir: Path, protocol: Protocol) -> None:
    path = dir / FILE
    if path.is_file():
        if read_made(path) != protocol:
            raise WorkbenchError(f"{dir} holds another protocol.", "Choose another folder, or repeat that one.")
    elif dir.exists() and any(dir.iterdir()):
        raise WorkbenchError(f"{dir} holds other files.", "Choose a new or an empty folder.")
    else:
        write_json(path, protocol.model_dump(mode="json"))
