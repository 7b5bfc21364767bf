"""`workbench report`: one HTML file about one run."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.finding_runs import run_in
from workbench.cli.options import Config, JudgeOfRun, check_writable


def report(
    run: Annotated[Path, typer.Argument(help="Run from `workbench evaluate`, or a folder with one below it.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file; report.html in the run if left out.")] = None,
    judge: JudgeOfRun = "",
    config: Config = None,
) -> None:
    """Write a report that opens in any browser, offline.

    Example:  workbench report out/run
    """
    run = run_in(run)
    target = out or run / "report.html"
    check_writable(target.parent if target.is_file() else target)  # a report that is there is written again
    import workbench as wb

    wb.report(wb.Run.open(run), target, judge=judge)
    typer.echo(f"Saved {target}. Open it in a browser.")
