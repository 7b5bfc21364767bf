"""`workbench train`: a sparse autoencoder on the activations of one site."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Device, Seed, check_writable, more_settings
from workbench.progress import progress_bars

FEATURES_PER_CHANNEL = 8


def train(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(help="Store from `workbench harvest`.")],
    site: Annotated[str, typer.Argument(help="A site of the store.")],
    out: Annotated[Path, typer.Option(help="Folder of the autoencoder; an unfinished training is continued.")],
    architecture: Annotated[str, typer.Option(help="topk, batchtopk, jumprelu, standard, gated, …")] = "topk",
    d_sae: Annotated[int | None, typer.Option(help="Features; 8 times the site's channels if left out.", min=1)] = None,
    k: Annotated[int, typer.Option(help="Features that are active at once.", min=1)] = 32,
    samples: Annotated[int, typer.Option(help="Rows seen in training, repeats included.", min=1)] = 1_000_000,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting as name=value, such as lr=3e-4; repeatable.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    config: Config = None,
) -> None:
    """Train a sparse autoencoder and save it in the folder format of sae-lens.

    Example:  workbench train out/store text.2 --k 16 --out out/sae
    """
    check_writable(out)
    import saes

    more = more_settings(context, settings)
    opened = saes.ActivationStore.open(store)
    given = {"architecture": architecture, "k": k, "samples": samples, "seed": seed}
    given["d_sae"] = d_sae or FEATURES_PER_CHANNEL * opened.width(site)
    wanted = saes.SAEConfig(**{**given, **more})
    with progress_bars() as progress:
        sae = saes.train(opened, site, wanted, out, device=device or "cpu", progress=progress)
    figures = sae.cfg.metadata.metrics
    typer.echo(f"Saved {out}: explained variance {figures['explained_variance']:.3f} at L0 {figures['l0']:.1f}.")
