"""`workbench import`: what others published as an edit."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, ModelName, check_new


@loads_a_model
def import_(
    model: ModelName,
    file: Annotated[Path, typer.Argument(help="A .safetensors file: changed weights, or a LoRA.")],
    out: Annotated[Path, typer.Option(help="Folder of the new edit; refused if it exists.")],
    concept: Annotated[list[str], typer.Option(help="What it erases; repeat for several.")],
    method: Annotated[str, typer.Option(help="How it was made, such as esd; spm: a LoRA that opens for its concepts.")],
    config: Config = None,
) -> None:
    """Read an edit that others published, so that every command takes it: ESD, UCE, AdvUnlearn, SPM, any LoRA.

    Files hold changed weights by their names in the pipeline or in its UNet or text encoder, or the factors of a LoRA
    as peft, diffusers, kohya or WebUI name them. Pickled files are never opened.

    Example:  workbench import toy fox.safetensors --concept fox --method uce --out edits/fox-theirs
    """
    check_new(out)
    import workbench as wb

    edit = wb.import_edit(file, opened(model, device="cpu"), concept, method)
    edit.save(out)
    typer.echo(f"Saved {out}: {edit}. Next: workbench edits show {out} --model {model}")
