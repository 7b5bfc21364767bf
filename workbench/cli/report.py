"""`workbench report`: one HTML file about one run, or about runs of several models that asked for the same."""

from pathlib import Path
from typing import Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.finding_runs import run_in
from workbench.cli.options import Config, JudgeOfRun, check_writable


def report(
    run: Annotated[
        list[Path],
        typer.Argument(help="Run of `evaluate` or `compare`, or a folder above it; several of as many models."),
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file; report.html in the run if left out.")] = None,
    trace: Annotated[
        list[Path] | None, typer.Option(help="Beside several runs: a causal trace in one of their models. Repeatable.")
    ] = None,
    judge: JudgeOfRun = "",
    config: Config = None,
) -> None:
    """Write a report that opens in any browser, offline.

    Several runs are set side by side if they are of different models and have the same concepts, prompts, numbers of
    seeds and judge: what each method erases and costs in each model.

    Example:  workbench report out/run

    Two kinds of model:  workbench report out/janus out/janus-diffusion --out both.html
    """
    if len(run) > 1 and out is None:
        raise WorkbenchError("A report of several runs lies in none of them.", "Say where: --out FILE.html.")
    if len(run) == 1 and trace:
        raise WorkbenchError("Traces stand beside runs of several models.", "Name several runs, or leave --trace out.")
    if out is not None:
        _check_target(out)
    run = [run_in(folder) for folder in run]
    target = out or run[0] / "report.html"
    _check_target(target)
    import workbench as wb

    if len(run) == 1:
        wb.report(wb.Run.open(run[0]), target, judge=judge)
    else:
        from workbench.studies.traced import TraceResult

        traces = [TraceResult.open(folder) for folder in trace or ()]
        wb.report_across([wb.Run.open(folder) for folder in run], target, judge=judge, traces=traces)
    typer.echo(f"Saved {target}. Open it in a browser.")


def _check_target(target: Path) -> None:
    check_writable(target.parent if target.is_file() else target)  # a report that is there is written again
