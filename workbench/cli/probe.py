"""`workbench probe`: where a model's activations tell a concept from its anchor."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.describing import takes_a_concept
from workbench.cli.finding_runs import sampling_of
from workbench.cli.lookup import contrast_of, suite_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import AsRun, Config, Device, Json, ModelName, Seed, check_new
from workbench.cli.tables import show
from workbench.progress import progress_bars


@loads_a_model
@takes_a_concept
def probe(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="A concept file (YAML), or a name of the toy's world.")],
    edit: Annotated[
        list[Path] | None, typer.Option(help="Folder of an edit; the model is probed with it in place. Repeatable.")
    ] = None,
    sites: Annotated[
        list[str] | None, typer.Option(help="A name from `workbench sites`. Repeatable; by default all whole layers.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A page (HTML) with the map; refused if it exists.")] = None,
    suite: Annotated[Path | None, typer.Option(help="CSV file of prompts; made for the toy's concepts.")] = None,
    per_role: Annotated[int, typer.Option(help="Prompts of the concept in the suite that is made.", min=1)] = 32,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; not needed for text sites.", min=1)] = None,
    as_run: AsRun = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Ask at every layer and step whether a linear probe tells a concept from its anchor.

    The prompts of the suite that name the concept are compared with the same prompts that name its anchor. With an
    edit, `transfer` says whether probes of the unedited model still find the concept.

    Example:  workbench probe toy fox --edit edits/fox-uce --sites text.3 --sites unet.mid --out fox.html
    """
    if out is not None:
        check_new(out)
    import workbench as wb
    from workbench.erasure import shown
    from workbench.figures.probing import decodability_map
    from workbench.interpret.decodability import contrast
    from workbench.interpret.inside import whole_layers
    from workbench.reports.pages import write_page

    wanted = contrast_of(concept)
    prompts = [row.prompt for row in suite_of(wanted, suite, per_role, seed).rows if row.role == "target"]
    handle, edits = opened(model, device=device), [wb.load_edit(folder) for folder in edit or []]
    given = {} if steps is None else {"steps": steps}
    with progress_bars() as progress:
        table = wb.decodability(
            handle, *contrast(wanted, prompts), sites or whole_layers(handle),
            edits=edits, seed=seed, progress=progress, **(sampling_of(as_run, handle) | given),
        )  # fmt: skip
    title = f"{wanted.name} or {wanted.anchor}, told by probes"
    if edits:
        title += f" with {', '.join(shown(each.method) for each in edits)} in place"
    show(table.to_dict("records"), json=json, title=title)
    if out is not None:
        write_page(out, title, {"Accuracy by site and step": decodability_map(table), "Table": table})
        typer.echo(f"Saved {out}.", err=True)
