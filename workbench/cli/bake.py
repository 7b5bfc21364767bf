"""`workbench bake`: edits put into the weights for good, or taken out again."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, ModelName, Precision, check_new


@loads_a_model
def bake(
    model: ModelName,
    edits: Annotated[list[Path], typer.Argument(help="Folders of edits that change weights, in their order.")],
    out: Annotated[Path, typer.Option(help="The new diffusers folder; refused if it exists.")],
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the edits out of a folder that they are baked into.")
    ] = False,
    dtype: Annotated[Precision, typer.Option(help="Precision of the saved weights.")] = "float32",
    config: Config = None,
) -> None:
    """Write a model with edits in its weights as an ordinary diffusers folder, which needs no workbench.

    Example:  workbench bake toy edits/fox-uce --out models/no-fox
    """
    check_new(out)
    import workbench as wb

    found = [wb.load_edit(folder) for folder in edits]
    handle = opened(model, device="cpu", dtype=dtype)
    if not undo:
        wb.bake(handle, found, out)
        typer.echo(f'Saved {out}. Next: workbench generate {out} "a photo of a …"')
        return
    undone = wb.unbake(handle, found, out)
    rounding = "rounding" if undone.bound is None else f"{undone.bound:.1e}, the rounding of adding and subtracting"
    exact = "bit for bit" if undone.bit_equal else f"up to {rounding}"
    typer.echo(f"Saved {out}. Its weights are those from before the edits {exact}.")
