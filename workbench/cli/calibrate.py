"""`workbench calibrate`: thresholds for a zero-shot judge, from the unedited model's own pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.describing import takes_a_concept
from workbench.cli.judging import to_judge
from workbench.cli.lookup import concepts_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, ModelName, Seed, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.evaluation.calibration import Known

SEEDS = 40_000_000  # added to those of the pictures, so that no evaluation has the same ones
EACH = 100_000  # seeds of a concept
FORM = "clip"


@loads_a_model
@takes_a_concept
def calibrate(
    model: ModelName,
    out: Annotated[Path, typer.Option(help="Folder of the calibration and its pictures; an unfinished one goes on.")],
    concepts: Annotated[
        list[str] | None,
        typer.Argument(help="Concept files (YAML), or names of the toy's world; on the toy, all if left out."),
    ] = None,
    judge: Annotated[str, typer.Option(help="The judge: clip, clip:FOLDER or clip:HUB/ID.")] = FORM,
    per_concept: Annotated[int, typer.Option(help="Pictures of each concept.", min=8)] = 24,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Choose the thresholds of a zero-shot judge on the unedited model's pictures of each concept and of the others.

    Anchors and retained words count as concepts too: what is to be told apart must be shown.

    Example:  workbench calibrate toy --out judges/clip   and then   workbench evaluate … --judge clip:judges/clip
    """
    check_writable(out)
    from workbench import toy
    from workbench.evaluation.calibration import calibrated, calibration_suite
    from workbench.evaluation.clip import Clip, known
    from workbench.evaluation.evaluate import Conditions, evaluate_concepts

    name, _, argument = judge.partition(":")
    if name != FORM:
        raise WorkbenchError(f"The judge {judge!r} has no thresholds to choose.", f"Name {FORM} or {FORM}:FOLDER.")
    told = concepts_of(concepts or (list(toy.concepts()) if model == "toy" else []))
    asked = to_judge(told)
    if len(asked) < 2:
        raise WorkbenchError("Fewer than two concepts cannot be told apart.", "Name several, or give one an anchor.")
    looks = Clip(Clip.load(argument).encoder, {one.name: known(one) for one in asked})
    no_edits: Conditions = {}
    first_seed = SEEDS * (seed + 1)
    trials = [
        (calibration_suite(one, per_concept, first_seed + EACH * place), no_edits) for place, one in enumerate(asked)
    ]
    with progress_bars() as progress:
        run = evaluate_concepts(
            opened(model, device=device), trials, looks, out / "run", batch_size=batch_size, floor=0.0,
            progress=progress,
        )  # fmt: skip
    found = calibrated(looks, run).write(out)
    rows = [{"concept": name, "threshold": one.threshold, **_rates(one)} for name, one in found.concepts.items()]
    show(rows, json=json, title=f"{looks.encoder.short} on {found.pictures} pictures of {found.model}")
    typer.echo(f"Saved {out}. Next: workbench evaluate … --judge clip:{out}", err=True)


def _rates(known: "Known") -> dict[str, float]:
    """How often it is found in its own pictures and elsewhere, on prompts that its threshold was not chosen on."""
    row = {}
    for name, rate in (("found", known.found), ("elsewhere", known.elsewhere)):
        for end in ("value", "low", "high"):
            row[name if end == "value" else f"{name}_{end}"] = getattr(rate, end) if rate else float("nan")
    return row
