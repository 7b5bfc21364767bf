"""`workbench study`: hypotheses from files, put to the test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli.judging import to_judge
from workbench.cli.lookup import contrast_of, held_out
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Device, Json, JudgeName, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from pandas import DataFrame

    from saes.progress import Progress
    from workbench.concepts import Concept
    from workbench.evaluation.judges import Judge
    from workbench.models import Model
    from workbench.studies.agreement import AgreementFile, AgreementResult
    from workbench.studies.hypothesis import Study, StudyFile
    from workbench.studies.study import StudyResult
    from workbench.studies.traced import TraceFile, TraceResult

    Agreement = tuple[AgreementFile, DataFrame]

app = typer.Typer(help="Hypotheses about a part of a model, put to a test that they can fail.", no_args_is_help=True)
PAGE = "report.html"


@app.command()
@loads_a_model
def run(
    files: Annotated[list[Path], typer.Argument(help="Study files (YAML), as in studies/.")],
    out: Annotated[Path, typer.Option(help="Folder of the studies, one in it for each file; unfinished ones go on.")],
    judge: JudgeName = "toy",
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    device: Device = None,
    json: Json = False,
) -> None:
    """Test the hypothesis of each file, and write a report of it.

    Example:  workbench study run studies/fox-necessary.yaml --out out/studies
    """
    check_writable(out)
    from workbench.judges import find_judge
    from workbench.studies.reading import read_study

    said = {file.stem: read_study(file) for file in files}  # all are read before the first is run
    if len(said) < len(files):
        raise WorkbenchError("Two study files have one name.", "Run them into different folders.")
    asked = {one.name: one for each in said.values() for one in _asked(each)}
    looks = find_judge(judge, list(asked.values()))
    rows = []
    with progress_bars() as progress:
        ready = [(name, _ready(each)) for name, each in said.items()]
        handles: dict[str, Model] = {}
        for name, (study, model) in ready:
            handle = _opened_once(model, handles, device)
            rows.append(_run(handle, study, looks, out / name, batch_size, progress, device))
    show(rows, json=json, title="Verdicts")
    for name in said:
        typer.echo(f"The report is at {(out / name / PAGE).absolute()}", err=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished study.")],
    json: Json = False,
) -> None:
    """Write the report of a finished study again, and print its verdict.

    Example:  workbench study report out/studies/fox-necessary
    """
    from workbench.studies import agreement, traced
    from workbench.studies.study import StudyResult

    kinds = {traced.FILE: traced.TraceResult, agreement.FILE: agreement.AgreementResult}
    kind: Any = next((kind for file, kind in kinds.items() if (folder / file).exists()), StudyResult)
    show([_written(kind.open(folder), folder)], json=json)
    typer.echo(f"The report is at {(folder / PAGE).absolute()}", err=True)


def _ready(said: "StudyFile | TraceFile | AgreementFile") -> "tuple[Study | TraceFile | Agreement, str]":
    """A file with its words turned into concepts and prompts, and the model that it names, the first of two."""
    from workbench.studies.agreement import AgreementFile
    from workbench.studies.traced import TraceFile

    if isinstance(said, AgreementFile):
        return (said, said.asked_of(contrast_of, held_out)), said.first.model
    if isinstance(said, TraceFile):
        return said.with_prompts(contrast_of, held_out), said.model
    return said.study(contrast_of, held_out), said.model


def _asked(said: "StudyFile | TraceFile | AgreementFile") -> "list[Concept]":
    """What a judge will be asked about: the concept, and the words of its kind in its place."""
    from workbench.studies.agreement import AgreementFile

    if isinstance(said, AgreementFile):
        return []  # two models are compared inside, and nobody looks at pictures
    about = contrast_of(said.concept)
    return to_judge([about], said.sparing, dict.fromkeys(said.sparing, about.kind))


def _opened_once(name: str, handles: "dict[str, Model]", device: str | None) -> "Model":
    if name not in handles:
        handles[name] = opened(name, device=device)
    return handles[name]


def _run(
    model: "Model", study: "Study | TraceFile | Agreement", judge: "Judge", out: Path, batch_size: int,
    progress: "Progress", device: str | None,
) -> dict[str, object]:  # fmt: skip
    from workbench.studies.agreement import run_agreement
    from workbench.studies.study import run_study
    from workbench.studies.traced import TraceFile, run_trace

    if isinstance(study, tuple):
        said, about = study
        other = opened(said.second.model, device=device)
        return _written(run_agreement(model, other, said, about, out, progress=progress), out)
    if isinstance(study, TraceFile):
        return _written(run_trace(model, study, out, judge=judge, progress=progress), out)
    return _written(run_study(model, study, judge, out, batch_size=batch_size, progress=progress), out)


def _written(result: "StudyResult | TraceResult | AgreementResult", folder: Path) -> dict[str, object]:
    """The report is written; the row that is printed of it."""
    from workbench.reports.agreeing import agreement_report
    from workbench.reports.studying import study_report
    from workbench.reports.tracing import trace_report
    from workbench.studies.agreement import AgreementResult
    from workbench.studies.traced import TraceResult

    name = folder.resolve().name
    if isinstance(result, AgreementResult):
        agreement_report(result, folder / PAGE)
        return {"study": name, "verdict": "compared", "what it rests on": result.sentence}
    if isinstance(result, TraceResult):
        trace_report(result, folder / PAGE)
        return {"study": name, "verdict": "traced", "what it rests on": result.sentence}
    study_report(result, folder / PAGE)
    return {"study": name, "verdict": result.verdict.outcome, "what it rests on": result.verdict.sentence}
