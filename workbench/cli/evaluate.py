"""`workbench evaluate`: edits against the unedited model and controls, on the same prompts with the same seeds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.describing import takes_a_concept
from workbench.cli.judging import judged_metrics, judges_of
from workbench.cli.lookup import one_concept, suite_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, JudgeNames, ModelName, Seed, check_writable
from workbench.cli.tables import show_metrics
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.edits import Edit


@loads_a_model
@takes_a_concept
def evaluate(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="The erased concept: a YAML file, or a name of the toy's world.")],
    edit: Annotated[list[Path], typer.Option(help="Folder of an edit; repeat to compare several.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")],
    suite: Annotated[
        Path | None,
        typer.Option(help="CSV file of prompts, or a folder of `workbench suite`; left out, made for a toy concept."),
    ] = None,
    per_role: Annotated[int, typer.Option(help="Prompts of each role in the suite that is made.", min=1)] = 16,
    controls: Annotated[
        bool, typer.Option(help="Add an edit that does nothing, and a random one of the first one's size.")
    ] = True,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    judge: JudgeNames = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure what edits erase and what they spare, as a judge sees it.

    Example:  workbench evaluate toy fox --edit edits/fox-itd --out out/run

    With a second judge:  workbench evaluate toy fox --edit edits/fox-itd --judge toy --judge clip --out out/run
    """
    check_writable(out)
    import workbench as wb

    erased = one_concept(concept)
    conditions = _conditions(edit, controls, seed)
    prompts = suite_of(erased, suite, per_role, seed)
    looks, *others = judges_of(judge, [erased], prompts.concepts)
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress:
        run = wb.evaluate(handle, conditions, prompts, looks, out, batch_size=batch_size, progress=progress)
        for other in others:
            wb.judge(run, other, progress=progress)
        wb.explain(run, handle, [erased], looks, progress=progress)
    rows = judged_metrics(run, [looks, *others])
    show_metrics(rows, json=json, title=f"{erased.name} ({len(run.spec.cells())} images)")
    typer.echo(f"Saved {out}. Next: workbench report {out}", err=True)


def edits_of(folders: list[Path]) -> "dict[str, Edit | None]":
    """The edits by the names of their folders."""
    import workbench as wb

    found: dict[str, Edit | None] = {folder.name: wb.load_edit(folder) for folder in folders}
    if len(found) < len(folders):
        raise WorkbenchError("Two edits have folders of one name.", "Rename one of the folders.")
    return found


def _conditions(folders: list[Path], controls: bool, seed: int) -> "dict[str, Edit | None]":
    """The edits, with the controls of the first."""
    import workbench as wb

    found = edits_of(folders)
    if controls:
        first = wb.load_edit(folders[0])
        found |= {"no-op": first.no_op(), first.summary().control: first.random(seed)}
    return found
