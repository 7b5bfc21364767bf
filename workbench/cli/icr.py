"""`workbench icr`: how often pictures of a run show what no prompt named."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.judging import each_once, judged_in
from workbench.cli.options import Json, JudgeNames
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.evaluation.runs import Run


def icr(
    run: Annotated[Path, typer.Argument(help="A finished run with prompts of the role 'implied'.")],
    judge: JudgeNames = None,
    clean: Annotated[
        Path | None, typer.Option(help="Folder of pictures without the concept: adds the FID to them, and its product.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the implicit-concept ratio of each condition, by each judge: how often it comes unasked.

    Take a detector that did not annotate the pictures of a fit beside the one that did.

    Example:  workbench icr out/implicit-concepts --judge toy --judge toy-marks
    """
    import workbench as wb
    from workbench.fitting.pictures import read_pictures
    from workbench.judges import find_judge

    names, opened = each_once(judge), wb.Run.open(run)
    known = judged_in(opened)
    looks = [find_judge(name, known) for name in names]
    pictures = None if clean is None else read_pictures(clean, _side(opened))
    with progress_bars() as progress:
        found = wb.implicit_ratios(opened, looks, clean=pictures, progress=progress)
    show(found.to_dict("records"), json=json, title=f"What prompts of {run} bring about without naming it")


def _side(run: "Run") -> int:
    """The shorter side of the run's pictures."""
    first = run.records().head(1)
    return min(run.pictures(first).shape[1:3])
