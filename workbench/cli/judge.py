"""`workbench judge`: another judge looks at the pictures of a run."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Json, JudgeName
from workbench.cli.tables import show_agreement, show_metrics
from workbench.progress import progress_bars


def judge(
    run: Annotated[Path, typer.Argument(help="A run whose pictures are all there.")],
    judge: JudgeName = "toy",
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Show how far it agrees with each other judge of the run instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Let a judge look at a run, and show its figures. What others said stays beside it; no picture is made.

    Example:  workbench judge out/run --judge toy:out/toy/oracle   and then   workbench report out/run --judge …

    Another:  workbench judge out/run --judge clip --agreement
    """
    import pandas as pd

    import workbench as wb
    from workbench.evaluation.agreement import judge_agreement
    from workbench.evaluation.tables import titled
    from workbench.judges import find_judge

    looks, opened = find_judge(judge), wb.Run.open(run)
    with progress_bars() as progress:
        wb.judge(opened, looks, progress=progress)
    name = opened.name_of(looks)
    if agreement:
        others = [other for other in opened.judges if other != name]
        show_agreement(pd.concat([judge_agreement(opened, other, name) for other in others or [""]]), json=json)
        return
    show_metrics(titled(wb.metrics(opened, name)).to_dict("records"), json=json, title=f"{run}, as {name} sees it")
    typer.echo(f"Judges of {run}: {', '.join(opened.judges)}", err=True)
