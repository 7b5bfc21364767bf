"""`workbench judge`: another judge looks at the pictures of a run."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.judging import FIRST, judged_in
from workbench.cli.options import JUDGE, Json
from workbench.cli.tables import show, show_agreement, show_metrics
from workbench.progress import progress_bars


def judge(
    run: Annotated[Path, typer.Argument(help="A run whose pictures are all there.")],
    judge: Annotated[str | None, typer.Option("--judge", help=f"{JUDGE} The toy's if left out.")] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Show instead how far it, or else the first, agrees with the others.")
    ] = False,
    clip_score: Annotated[
        bool, typer.Option("--clip-score", help="Show the CLIP score of each condition instead: 100 times the cosine.")
    ] = False,
    json: Json = False,
) -> None:
    """Let a judge look at a run, and show its figures. What others said stays beside it; no picture is made.

    Example:  workbench judge out/run --judge toy:out/toy/oracle   and then   workbench report out/run --judge …

    Another:  workbench judge out/run --judge clip --agreement
    """
    import workbench as wb
    from workbench.evaluation.agreement import agreements
    from workbench.evaluation.clip_score import clip_score as scored
    from workbench.evaluation.tables import titled
    from workbench.judges import find_judge

    opened = wb.Run.open(run)
    if agreement and not judge:
        show_agreement(agreements(opened), json=json)
        return
    looks = find_judge(judge or FIRST, judged_in(opened))
    with progress_bars() as progress:
        wb.judge(opened, looks, progress=progress)
    name = opened.name_of(looks)
    if agreement:
        show_agreement(agreements(opened, name), json=json)
        return
    if clip_score:
        show(titled(scored(opened, looks)).to_dict("records"), json=json, title=f"CLIP score of {run}")
        return
    show_metrics(titled(wb.metrics(opened, name)).to_dict("records"), json=json, title=f"{run}, as {name} sees it")
    typer.echo(f"Judges of {run}: {', '.join(opened.judges)}", err=True)
