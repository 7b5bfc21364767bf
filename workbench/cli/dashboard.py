"""`workbench dashboard`: the features of a run's autoencoders in a browser."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.finding_runs import run_in
from workbench.cli.lookup import concepts_for
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Device, check_new, check_writable
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.models import Model


@loads_a_model
def dashboard(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run from `workbench evaluate`, or a folder with one below it; the SAEs of its edits are shown."
        ),
    ],
    sae: Annotated[
        list[str] | None, typer.Option(help="Another SAE: a folder, or a shipped name such as toy/text.2; repeat.")
    ] = None,
    concept: Annotated[
        list[str] | None, typer.Option(help="More concepts: a YAML file, or a name of the toy's world; repeat.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The run's model, if it has moved: a hub id or a folder.")] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            help="Pictures to draw for looking at features; asked on the page where all would take long.", min=0
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port on this machine; a free one if left out.")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write a copy that opens from disk into this folder, and serve nothing.")
    ] = None,
    device: Device = None,
) -> None:
    """Browse features, see what they fire on, change them and look at the pictures, in your browser, offline.

    Example:  workbench dashboard out/run --sae toy/unet.up.0.0
    """
    run = run_in(run)
    check_writable(run)
    if export is not None:
        check_new(export)
    from workbench.dashboard.opening import open_library
    from workbench.evaluation.runs import Run

    name = model or Run.open(run).spec.model.name

    def load() -> "Model":
        return opened(name, device=device)  # torch takes seconds, and a dashboard that only shows needs none

    concepts = concepts_for(name, concept or [])
    if export is not None:
        _export(run, sae or (), concepts, load, pictures, export)
        return
    from workbench.dashboard.app import make_app
    from workbench.dashboard.bench import Bench
    from workbench.dashboard.server import HOST, server_of

    bench = Bench(open_library(run, sae or (), concepts, pictures=pictures), load, pictures)
    server = server_of(make_app(bench), port)
    typer.echo(f"The dashboard is at http://{HOST}:{server.port}/ (Ctrl-C ends it).")
    bench.fill()
    server.serve_forever()


def _export(
    run: Path, saes: Sequence[str], concepts: Sequence["Concept"], load: Callable[[], "Model"], pictures: int | None,
    to: Path,
) -> None:  # fmt: skip
    from workbench.dashboard.export import export
    from workbench.dashboard.opening import whole_library

    with progress_bars() as progress:
        library = whole_library(run, saes, concepts, model=load, pictures=pictures, progress=progress)
        export(library, to, progress=progress)
    typer.echo(f"Saved {to}. Open {to / 'index.html'} in a browser.")
