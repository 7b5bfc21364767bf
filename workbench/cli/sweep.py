"""`workbench sweep`: many sparse autoencoders from one file, one harvest and one pass over its rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.lookup import read_prompts
from workbench.cli.options import Device, Json, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.sweep import Sweep

SHOWN = ("sae", "l0", "explained_variance", "cosine", "dead_share", "dense_share", "loss_recovered")


def sweep(
    file: Annotated[Path, typer.Argument(help="Sweep file (YAML), as in studies/sweeps/.")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; an unfinished one is continued.")],
    device: Device = None,
    json: Json = False,
) -> None:
    """Train autoencoders of many kinds at many sites, and compare them in a table and a page of figures.

    Example:  workbench sweep studies/sweeps/sites.yaml --out out/sites
    """
    check_writable(out)
    import workbench as wb
    from workbench.sweep import read_sweep, run_sweep, write_page

    wanted = read_sweep(file)
    prompts = _prompts(wanted)
    with progress_bars() as progress:
        table = run_sweep(
            wb.load(wanted.model, device=device), wanted, prompts, out, device=device or "cpu", progress=progress
        )
    shown = table if json else table[list(SHOWN)]
    show(shown.to_dict("records"), json=json, title=wanted.question or f"The SAEs of {file}")
    page = write_page(table, out, wanted.question or f"The SAEs of {file}")
    typer.echo(f"The figures are at {page.absolute()}", err=True)


def _prompts(wanted: "Sweep") -> list[str]:
    """The lines of the file, or captions of the toy's world."""
    if isinstance(wanted.prompts, str):
        return read_prompts(Path(wanted.prompts))
    if wanted.model != "toy":
        raise WorkbenchError("Only the toy has captions to draw.", "Name a text file with a prompt a line.")
    from workbench.toy.captions import examples

    return [example.caption for example in examples(wanted.prompts, wanted.seed)]
