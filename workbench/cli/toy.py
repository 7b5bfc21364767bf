"""`workbench toy`: how the embedded world and its models were made, and what they can do."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Json, Seed, check_new, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

COLUMNS = 8

app = typer.Typer(help="The embedded world: a small model whose ground truth is known.", no_args_is_help=True)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the training; an unfinished one is continued.")],
    stage: Annotated[list[str] | None, typer.Option(help="A stage of the recipe; repeatable, all if left out.")] = None,
    config: Config = None,
) -> None:
    """Train the toy from nothing, as the shipped weights were made. Hours on two cores.

    Example:  workbench toy train --out out/toy
    """
    check_writable(out)
    from workbench.toy import recipe

    with progress_bars() as progress:
        recipe.train(out, stage, progress=progress)
    typer.echo(f"Saved {out}. Next: workbench toy report --model {out / 'weights/pipeline'}")


@app.command()
def report(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="'toy', 'toy-janus', or weights/pipeline or weights/janus of a `workbench toy train`. "
            "Repeatable; both toys if left out."
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(help="Prompts of each kind; more give narrower intervals.", min=3)] = 150,
    sheet: Annotated[Path | None, typer.Option(help="Of one model: also write a PNG with pictures.")] = None,
    guidance: Annotated[
        Path | None,
        typer.Option(help="Of one model: measure the curve of concept shown against guidance too; the page to write."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Print how often the toys' pictures show what held-out prompts ask for, with 95 % intervals and floors.

    Both models are asked the same, and each has the floors of its kind. With --guidance also how often pictures show a
    concept at each scale of guidance, with the concept in the prompt alone and with it as the negative prompt too: as a
    second table, and as a page with the curve.

    Example:  workbench toy report --prompts 50

    With figures:  workbench toy report --model toy --sheet out/toy.png --guidance out/guidance.html
    """
    from saes.errors import WorkbenchError

    names = model or ["toy", "toy-janus"]
    if len(names) > 1 and (sheet or guidance):
        raise WorkbenchError("A sheet and a curve are of one model.", "Say of which: --model toy.")
    if guidance is not None:
        check_new(guidance)
    from workbench.toy.report import report as figures
    from workbench.toy.report import subject

    with progress_bars() as progress:
        tables = {name: figures(name, prompts, progress, sheet) for name in names}
    if guidance is None:
        if json:
            show([{"model": name, **row} for name, rows in tables.items() for row in rows], json=True)
            return
        for name, rows in tables.items():
            show(rows, json=False, title=f"The toy's figures ({name})")
        return
    from workbench.figures.guidance import guidance_figure
    from workbench.reports.pages import write_page
    from workbench.toy.guidance import guidance_curve

    ((name, rows),) = tables.items()
    with progress_bars() as progress:
        curve = guidance_curve(*subject(name), n=prompts, progress=progress)
    write_page(guidance, f"Guidance on the toy ({name})", {"Concept shown": guidance_figure(curve), "Table": curve})
    if json:
        show([{"figures": rows, "guidance": curve.to_dict("records")}], json=True)
        return
    show(rows, json=False, title=f"The toy's figures ({name})")
    show(curve.to_dict("records"), json=False, title=f"Concept shown against guidance (drawn in {guidance})")


@app.command()
def render(
    out: Annotated[Path, typer.Option(help="The PNG file; refused if it exists.")] = Path("out/world.png"),
    rows: Annotated[int, typer.Option(help=f"Rows of {COLUMNS} scenes.", min=1)] = 6,
    seed: Seed = 0,
    config: Config = None,
) -> None:
    """Draw scenes of the world, as the training pictures are drawn, and print their captions row by row.

    Example:  workbench toy render --out out/world.png
    """
    check_new(out)
    import numpy as np
    from PIL import Image

    from saes.disk import replacing
    from workbench.figures.pictures import tile
    from workbench.toy.captions import sample
    from workbench.toy.render import render as draw

    rng = np.random.default_rng(seed)
    examples = [sample(rng, "train") for _ in range(rows * COLUMNS)]
    pictures = np.stack([draw(example.scene).image for example in examples])
    with replacing(out) as temporary:
        Image.fromarray(tile(pictures.reshape(rows, COLUMNS, *pictures.shape[1:]))).save(temporary, format="png")
    for row in range(rows):
        typer.echo(" | ".join(example.caption for example in examples[row * COLUMNS :][:COLUMNS]))


@app.command()
def neighbours(
    kind: Annotated[list[str] | None, typer.Option(help="things, artists or characters; all if left out.")] = None,
    sae: Annotated[str, typer.Option(help="The autoencoder whose features are compared.")] = "toy/text.2",
    seed: Seed = 0,
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure how well each ranking of neighbour concepts finds the relatives that the world gives them.

    Precision among the first n of a ranking, n the number of relatives (5 for things), with 95 % intervals and a random
    order as the control.

    Example:  workbench toy neighbours --kind things
    """
    import workbench as wb
    from saes.errors import unknown_name
    from workbench.activations.autoencoders import open_sae
    from workbench.toy.relatives import KINDS, neighbour_precision, summary

    for name in kind or ():
        if name not in KINDS:
            raise unknown_name("kind", name, KINDS)
    with progress_bars() as progress:
        found = neighbour_precision(
            wb.load("toy"), open_sae(sae), kinds=kind or tuple(KINDS), seed=seed, progress=progress
        )
    show(summary(found).to_dict("records"), json=json, title="Precision of neighbour rankings on the toy")


@app.command()
def transfer(
    out: Annotated[Path, typer.Option(help="Folder of the edits and runs; an unfinished one is continued.")],
    concept: Annotated[
        list[str] | None, typer.Argument(help="Concepts of the toy; fox and oskar lind if left out.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="A relative of the toy: a diffusers folder. Repeatable; the shipped ones if left out."),
    ] = None,
    per_role: Annotated[int, typer.Option(help="Prompts of each role for each concept.", min=1)] = 50,
    seed: Seed = 0,
    json: Json = False,
    config: Config = None,
) -> None:
    """Fit an adapter (SPM) on the toy and measure what it erases in models of the same form and other weights.

    Nothing is fitted on those. Beside each stand its own unedited pictures and adapters of random directions.

    Example:  workbench toy transfer fox --to out/toy/weights/sibling --out out/transfer
    """
    check_writable(out)
    import workbench as wb
    from saes.errors import WorkbenchError
    from workbench.toy import Oracle
    from workbench.toy.transfer import CONCEPTS, METHOD, measure_transfer, shipped_relatives

    folders = to or [str(folder) for folder in shipped_relatives()]
    if not folders:
        raise WorkbenchError("No relative of the toy is shipped.", "Name one: --to FOLDER.")
    with progress_bars() as progress:
        relatives = [wb.load(folder) for folder in folders]
        table = measure_transfer(
            wb.load("toy"), relatives, METHOD, concept or CONCEPTS, Oracle.load(), out,
            per_role=per_role, seed=seed, progress=progress,
        )  # fmt: skip
    show(table.to_dict("records"), json=json, title="SPM, fitted on the toy, in each model")
