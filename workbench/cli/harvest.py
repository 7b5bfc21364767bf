"""`workbench harvest`: activations of prompts at chosen sites, kept in a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from saes.progress import SILENT
from workbench.cli.lookup import read_prompts
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, ModelName, Seed, check_writable
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from saes import ActivationStore
    from workbench.models import Model


@loads_a_model
def harvest(
    model: ModelName,
    sites: Annotated[list[str], typer.Argument(help="Names from `workbench sites`.")],
    out: Annotated[Path, typer.Option(help="Folder of the store; an unfinished one is continued.")],
    prompts_file: Annotated[Path, typer.Option(help="Prompts: one a line, or a list in CSV or JSON.")],
    steps: Annotated[int | None, typer.Option(help="Denoising steps; not needed for text sites.", min=1)] = None,
    pixel_rate: Annotated[float, typer.Option(help="Share of pixels kept at image sites.", min=0, max=1)] = 0.1,
    positions: Annotated[
        Literal["all", "prompt", "content"],
        typer.Option(help="Of a prompt's positions: all, no padding (prompt), or no begin token either (content)."),
    ] = "all",
    seed: Seed = 0,
    device: Device = None,
    config: Config = None,
) -> None:
    """Run prompts through a model once and keep the activations of all the sites.

    Under `accelerate launch` several processes share the prompts out.

    Example:  workbench harvest toy text.2 --prompts-file captions.txt --out out/store
    """
    prompts = read_prompts(prompts_file)
    check_writable(out)
    import workbench as wb
    from workbench.processes import processes

    launched = processes()
    with progress_bars() as bars:
        progress = bars if launched.is_main_process else SILENT
        loaded = opened(model, device=device)
        store = wb.harvest(
            loaded, prompts, sites, out,
            seed=seed, steps=steps, pixel_rate=pixel_rate, positions=positions, progress=progress,
        )  # fmt: skip
        about = [_said(store, loaded, site) for site in store.sites]
    if launched.is_main_process:
        typer.echo(f"Saved {', '.join(about)} in {out}. Next: workbench train {out} {sites[0]} --out out/sae")


def _said(store: "ActivationStore", model: "Model", site: str) -> str:
    """How many rows a site has, and what they leave out or could leave out."""
    from workbench.activations.harvest import left_out, padding

    rows = f"{store.rows(site)} rows at {site}"
    if share := left_out(store, site):
        return f"{rows} ({share:.0%} of its positions left out)"
    share = padding(model, site, store.prompts)
    return f"{rows} ({share:.0%} of them padding: --positions prompt leaves it out)" if share else rows
