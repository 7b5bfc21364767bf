"""`workbench demo`: the whole story on the embedded world."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, check_writable
from workbench.progress import progress_bars


def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes; it goes on where it stopped.")] = Path(
        "out/demo"
    ),
    concept: Annotated[str, typer.Option(help="The concept of the toy to erase.")] = "fox",
    quick: Annotated[bool, typer.Option(help="A tenth of the work, to see that everything runs.")] = False,
    config: Config = None,
) -> None:
    """Train an autoencoder, find a concept, erase it, evaluate the edit against controls, and write a report.

    Example:  workbench demo --concept whale --out out/whale
    """
    check_writable(out)
    from workbench.demo import FULL, QUICK, Demo

    with progress_bars() as progress:
        size = QUICK if quick else FULL
        report = Demo(out, concept, size, progress, say=lambda line: typer.echo(line, err=True)).run()
    typer.echo(f"The report is at {report.absolute()}")
