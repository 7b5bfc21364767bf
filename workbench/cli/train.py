"""`workbench train`: a sparse autoencoder on the activations of one site."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Seed, check_writable
from workbench.progress import progress_bars


def train(
    store: Annotated[Path, typer.Argument(help="Store from `workbench harvest`.")],
    site: Annotated[str, typer.Argument(help="A site of the store.")],
    out: Annotated[Path, typer.Option(help="Folder of the autoencoder; an unfinished training is continued.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as name=value, such as d_sae=4096; repeatable.")
    ] = None,
    seed: Seed = 0,
    config: Config = None,
) -> None:
    """Train a sparse autoencoder and save it in the folder format of sae-lens.

    Example:  workbench train out/store text.2 --set architecture=topk --set k=16 --out out/sae
    """
    check_writable(out)
