"""`workbench inside`: what an edit changes inside a model, as a page of figures."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.finding_runs import sampling_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import AsRun, Config, Device, ModelName, check_new
from workbench.progress import progress_bars


@loads_a_model
def inside(
    model: ModelName,
    edit: Annotated[Path, typer.Argument(help="Folder of an edit of any kind.")],
    out: Annotated[Path, typer.Option(help="The page (HTML); refused if it exists.")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="A prompt to look at; may be repeated. By default a photo of each concept.")
    ] = None,
    sae: Annotated[
        list[str] | None, typer.Option(help="Folder or shipped name of an autoencoder; may be repeated, one a site.")
    ] = None,
    as_run: AsRun = None,
    seeds: Annotated[int, typer.Option(help="Pictures of each prompt.", min=1)] = 4,
    device: Device = None,
    config: Config = None,
) -> None:
    """Show which layers an edit changes, which features die or are born, and where attention moves.

    The model with and without the edit sees the same latents at every step, a Janus the same tokens. A random edit of
    the same form is the control.

    Example:  workbench inside toy edits/fox-uce --sae toy/unet.up.0.0 --out inside.html
    """
    check_new(out)
    import workbench as wb
    from workbench.erasure import shown
    from workbench.figures.inside import attention_moved, change_by_layer, change_map, feature_fates
    from workbench.interpret.inside import inside as look_inside
    from workbench.interpret.inside import untouched
    from workbench.reports.pages import write_page

    found = wb.load_edit(edit)
    prompts = prompt or [f"a photo of a {concept}" for concept in found.concepts]
    cells = [each for each in prompts for _ in range(seeds)], list(range(seeds)) * len(prompts)
    with progress_bars() as progress:
        handle = opened(model, device=device)
        sampling = sampling_of(as_run, handle)
        seen = look_inside(handle, found, *cells, saes=sae or [], progress=progress, **sampling)
        control = look_inside(handle, found.random(), *cells, progress=progress, **sampling)
    said, method = untouched(seen.change), shown(found.method)
    parts = {
        **({"In short": said} if said else {}),
        "Change by layer": change_by_layer({"random control": control.change, method: seen.change}),
        "Change by layer and step": change_map(seen.change),
        "Attention to each token": attention_moved(seen.attention),
    }
    if len(seen.features):
        parts["Features before and after"] = feature_fates(seen.features)
    title = f"Inside {method} ({', '.join(found.concepts)})"
    typer.echo(write_page(out, title, parts))
