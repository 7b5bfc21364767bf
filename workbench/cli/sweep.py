"""`workbench sweep`: many sparse autoencoders from one file, one harvest and one pass over its rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.lookup import read_prompts
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    import pandas as pd

    from saes.progress import Progress
    from workbench.sweep import Sweep
    from workbench.toy.captions import Example

SHOWN = ("sae", "l0", "explained_variance", "cosine", "dead_share", "dense_share", "loss_recovered")


@loads_a_model
def sweep(
    file: Annotated[Path, typer.Argument(help="Sweep file (YAML), as in studies/sweeps/.")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; an unfinished one is continued.")],
    checks: Annotated[
        bool,
        typer.Option("--checks", help="For captions of the toy: probing, absorption …, beside random weights."),
    ] = False,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Train autoencoders of many kinds at many sites, and compare them in a table and a page of figures.

    Example:  workbench sweep studies/sweeps/sites.yaml --out out/sites
    """
    check_writable(out)
    from workbench.sweep import read_sweep, run_sweep, write_page

    wanted = read_sweep(file)
    examples, prompts = _prompts(wanted)
    if checks and not examples:
        raise WorkbenchError("What a file of prompts asks for is not known.", "Leave --checks out, or draw captions.")
    with progress_bars() as progress:
        model = opened(wanted.model, device=device)
        table = run_sweep(model, wanted, prompts, out, device=device or "cpu", progress=progress)
        checked = _checked(table, out, examples, wanted.seed, progress) if checks else None
    title = wanted.question or f"The SAEs of {file}"
    if json:
        rows = table if checked is None else table.merge(checked, on="sae")
        show(rows.to_dict("records"), json=True)
    else:
        show(table[list(SHOWN)].to_dict("records"), json=False, title=title)
        if checked is not None:
            show(checked.to_dict("records"), json=False, title="Checks on known factors, beside random weights")
    typer.echo(f"The figures are at {write_page(table, out, title).absolute()}", err=True)


def _checked(
    table: "pd.DataFrame", out: Path, examples: "list[Example]", seed: int, progress: "Progress"
) -> "pd.DataFrame":
    """What the SAEs of a finished sweep know of what the captions are about."""
    from saes.store import ActivationStore
    from workbench.sweep import SAES, STORE
    from workbench.toy.checks import check_all

    store = ActivationStore.open(out / STORE)
    return check_all(store, table, out / SAES, examples, seed=seed, progress=progress)


def _prompts(wanted: "Sweep") -> "tuple[list[Example], list[str]]":
    """The prompts of the file; or captions of the toy's world, with what they are about."""
    if isinstance(wanted.prompts, str):
        return [], read_prompts(Path(wanted.prompts))
    if wanted.model != "toy":
        raise WorkbenchError(
            "Only the toy has captions to draw.", "Name a file of prompts: one a line, or a list in CSV or JSON."
        )
    from workbench.toy.captions import examples

    drawn = examples(wanted.prompts, wanted.seed)
    return drawn, [example.caption for example in drawn]
