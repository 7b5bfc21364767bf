"""`workbench train`: a sparse autoencoder on the activations of one site."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Device, all_settings, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

FEATURES_PER_CHANNEL, SAMPLES = 8, 1_000_000


def train(
    store: Annotated[Path, typer.Argument(help="Store from `workbench harvest`.")],
    site: Annotated[str, typer.Argument(help="A site of the store.")],
    out: Annotated[Path, typer.Option(help="Folder of the autoencoder; an unfinished training is continued.")],
    architecture: Annotated[
        str | None, typer.Option(help="topk, batchtopk, jumprelu, standard, gated, …; topk if left out.")
    ] = None,
    d_sae: Annotated[int | None, typer.Option(help="Features; 8 times the site's channels if left out.", min=1)] = None,
    k: Annotated[int | None, typer.Option(help="Features that are active at once; 32 if left out.", min=1)] = None,
    samples: Annotated[
        int | None, typer.Option(help="Rows seen in training, repeats included; 1,000,000 if left out.", min=1)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting as name=value, such as lr=3e-4; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of everything random.", min=0)] = None,
    device: Device = None,
    config: Config = None,
) -> None:
    """Train a sparse autoencoder and save it in the folder format of sae-lens.

    Example:  workbench train out/store text.2 --k 16 --out out/sae
    """
    check_writable(out)
    import saes
    from workbench.activations.fidelity import by_place

    own = {"architecture": architecture, "d_sae": d_sae, "k": k, "samples": samples, "seed": seed}
    given, opened = all_settings(own, settings), saes.ActivationStore.open(store)
    wanted = saes.SAEConfig(**{"d_sae": FEATURES_PER_CHANNEL * opened.width(site), "samples": SAMPLES, **given})
    with progress_bars() as progress:
        sae = saes.train(opened, site, wanted, out, device=device or "cpu", progress=progress)
    figures = sae.cfg.metadata.metrics
    apart = by_place(sae, opened, site)
    typer.echo(f"Saved {out}: explained variance {figures['explained_variance']:.3f} at L0 {figures['l0']:.1f}.")
    if len(apart) > 1:
        show([{"positions": name, **each.numbers()} for name, each in apart.items()], json=False, title="By position")
