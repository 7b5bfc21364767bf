"""`workbench study`: hypotheses from files, put to the test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.lookup import held_out, one_concept
from workbench.cli.options import Device, Json, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.studies.study import StudyResult

app = typer.Typer(help="Hypotheses about a part of a model, put to a test that they can fail.", no_args_is_help=True)
PAGE = "report.html"


@app.command()
def run(
    files: Annotated[list[Path], typer.Argument(help="Study files (YAML), as in studies/.")],
    out: Annotated[Path, typer.Option(help="Folder of the studies, one in it for each file; unfinished ones go on.")],
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    device: Device = None,
    json: Json = False,
) -> None:
    """Test the hypothesis of each file, and write a report of it.

    Example:  workbench study run studies/fox-necessary.yaml --out out/studies
    """
    check_writable(out)
    import workbench as wb
    from workbench import toy
    from workbench.studies.reading import read_study

    said = {file.stem: read_study(file) for file in files}  # all are read before the first is run
    studies = {name: each.study(one_concept, held_out) for name, each in said.items()}
    results = {}
    with progress_bars() as progress:
        for name, study in studies.items():
            model = wb.load(said[name].model, device=device)
            judge = toy.Oracle.load()
            results[name] = wb.run_study(model, study, judge, out / name, batch_size=batch_size, progress=progress)
            wb.study_report(results[name], out / name / PAGE)
    _show(results, json=json)
    for name in results:
        typer.echo(f"The report is at {(out / name / PAGE).absolute()}", err=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished study.")],
    json: Json = False,
) -> None:
    """Write the report of a finished study again, and print its verdict.

    Example:  workbench study report out/studies/fox-necessary
    """
    import workbench as wb
    from workbench.studies.study import StudyResult

    result = StudyResult.open(folder)
    path = wb.study_report(result, folder / PAGE)
    _show({folder.resolve().name: result}, json=json)
    typer.echo(f"The report is at {path.absolute()}", err=True)


def _show(results: "dict[str, StudyResult]", *, json: bool) -> None:
    rows = [
        {"study": name, "verdict": result.verdict.outcome, "what it rests on": result.verdict.sentence}
        for name, result in results.items()
    ]
    show(rows, json=json, title="Verdicts")
