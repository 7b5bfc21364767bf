"""`workbench demo`: the whole story on the embedded world."""

from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from workbench.cli.options import Config, JudgeName, check_writable
from workbench.progress import progress_bars

INDENT = " " * 6


def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes; it goes on where it stopped.")] = Path(
        "out/demo"
    ),
    concept: Annotated[str, typer.Option(help="The concept of the toy to erase.")] = "fox",
    judge: JudgeName = "toy",
    quick: Annotated[bool, typer.Option(help="A tenth of the work, to see that everything runs.")] = False,
    config: Config = None,
) -> None:
    """Train an autoencoder, find a concept, erase it in three ways, attack one of them, compare them with controls, and
    write a report.

    Example:  workbench demo --concept whale --out out/whale
    """
    check_writable(out)
    from workbench.demo import FULL, QUICK, Demo

    work = Demo(out, concept, QUICK if quick else FULL, judge_name=judge)
    steps = list(work.steps())
    for number, step in enumerate(steps, 1):
        typer.echo(f"[{number}/{len(steps)}] {step.words}")
        with progress_bars() as progress:
            said = step.work(progress)
        if said:
            typer.echo(fill(said, 100, initial_indent=INDENT, subsequent_indent=INDENT))
    typer.echo(f"The report is at {work.report.absolute()}")
