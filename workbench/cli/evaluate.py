"""`workbench evaluate`: edits against the unedited model, on the same prompts with the same seeds."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.lookup import judge_of, suite_of
from workbench.cli.options import Config, Device, Json, ModelName, Seed, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars


def evaluate(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="The erased concept: a file (YAML); for the toy, a name will do.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")],
    edit: Annotated[list[Path] | None, typer.Option(help="Folder of an edit; repeat to compare several.")] = None,
    suite: Annotated[Path | None, typer.Option(help="CSV file of prompts; for the toy, made if left out.")] = None,
    per_role: Annotated[int, typer.Option(help="Prompts of each role in the suite that is made.", min=1)] = 32,
    batch_size: Annotated[int, typer.Option(help="Images made at once; changes no image.", min=1)] = 16,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure what edits erase and what they spare.

    Example:  workbench evaluate toy fox --edit edits/fox-itd --out out/run
    """
    check_writable(out)
    import workbench as wb

    edits = {folder.name: wb.load_edit(folder) for folder in edit or []}
    prompts = suite_of(model, concept, suite, per_role, seed)
    with progress_bars() as progress:
        run = wb.evaluate(
            wb.load(model, device=device), edits, prompts, judge_of(model), out,
            batch_size=batch_size, progress=progress,
        )  # fmt: skip
    show(wb.metrics(run).to_dict("records"), json=json, title=f"{concept} ({len(run.records())} images)")
    typer.echo(f"Saved {out}. Next: workbench report {out}", err=True)
