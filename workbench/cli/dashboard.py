"""`workbench dashboard`: the features of a run's autoencoders in a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.lookup import concepts_for
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Device, check_new, check_writable
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.models import Model


@loads_a_model
def dashboard(
    run: Annotated[Path, typer.Argument(help="Run from `workbench evaluate`; the SAEs of its edits are shown.")],
    sae: Annotated[
        list[str] | None, typer.Option(help="Another SAE: a folder, or a shipped name such as toy/text.2; repeat.")
    ] = None,
    concept: Annotated[
        list[str] | None, typer.Option(help="More concepts: a YAML file, or a name of the toy's world; repeat.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The run's model, if it has moved: a hub id or a folder.")] = None,
    port: Annotated[int | None, typer.Option(help="The port on this machine; a free one if left out.")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write a copy that opens from disk into this folder, and serve nothing.")
    ] = None,
    device: Device = None,
) -> None:
    """Browse features, see what they fire on, change them and look at the pictures, in your browser, offline.

    Example:  workbench dashboard out/run --sae toy/unet.up.0.0
    """
    check_writable(run)
    if export is not None:
        check_new(export)
    from workbench.dashboard.opening import open_library
    from workbench.evaluation.runs import Run

    name = model or Run.open(run).spec.model.name

    def load() -> "Model":
        return opened(name, device=device)  # torch takes seconds, and a dashboard that only shows needs none

    with progress_bars() as progress:
        library = open_library(run, sae or (), concepts_for(name, concept or []), model=load, progress=progress)
    if export is not None:
        from workbench.dashboard.export import export as write_copy

        with progress_bars() as progress:
            write_copy(library, export, progress=progress)
        typer.echo(f"Saved {export}. Open {export / 'index.html'} in a browser.")
        return
    from workbench.dashboard.app import make_app
    from workbench.dashboard.bench import Bench
    from workbench.dashboard.server import HOST, server_of

    server = server_of(make_app(Bench(library, load)), port)
    typer.echo(f"The dashboard is at http://{HOST}:{server.port}/ (Ctrl-C ends it).")
    server.serve_forever()
