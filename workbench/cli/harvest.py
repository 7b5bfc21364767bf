"""`workbench harvest`: activations of prompts at chosen sites, kept in a store."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.lookup import read_prompts
from workbench.cli.options import Config, Device, ModelName, Seed, check_writable
from workbench.progress import progress_bars


def harvest(
    model: ModelName,
    sites: Annotated[list[str], typer.Argument(help="Names from `workbench sites`.")],
    out: Annotated[Path, typer.Option(help="Folder of the store; an unfinished one is continued.")],
    prompts_file: Annotated[Path, typer.Option(help="Text file with a prompt a line.")],
    steps: Annotated[int | None, typer.Option(help="Denoising steps; not needed for text sites.", min=1)] = None,
    pixel_rate: Annotated[float, typer.Option(help="Share of pixels kept at image sites.", min=0, max=1)] = 0.1,
    seed: Seed = 0,
    device: Device = None,
    config: Config = None,
) -> None:
    """Run prompts through a model once and keep the activations of all the sites.

    Example:  workbench harvest toy text.2 --prompts-file captions.txt --out out/store
    """
    prompts = read_prompts(prompts_file)
    check_writable(out)
    import workbench as wb

    with progress_bars() as progress:
        store = wb.harvest(
            wb.load(model, device=device), prompts, sites, out,
            seed=seed, steps=steps, pixel_rate=pixel_rate, progress=progress,
        )  # fmt: skip
    counts = ", ".join(f"{store.rows(site)} rows at {site}" for site in store.sites)
    typer.echo(f"Saved {counts} in {out}. Next: workbench train {out} {sites[0]} --out out/sae")
