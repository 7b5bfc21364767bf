"""`workbench export`: an edit as a file that other programs load."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, ModelName, check_new


@loads_a_model
def export(
    model: ModelName,
    edit: Annotated[Path, typer.Argument(help="Folder of the edit.")],
    out: Annotated[
        Path, typer.Option(help="Where it is written; refused if it exists. For webui a .safetensors file.")
    ],
    form: Annotated[
        Literal["lora", "webui", "text-encoder"],
        typer.Option(
            "--as",
            help="lora: a folder for diffusers and peft. webui: a LoRA as kohya, WebUI and ComfyUI name it. "
            "text-encoder: a folder with the changed encoder alone.",
        ),
    ] = "lora",
    rank: Annotated[
        int | None, typer.Option(help="The largest rank of a layer in a LoRA; exact if left out.", min=1)
    ] = None,
    config: Config = None,
) -> None:
    """Write an edit for other programs. A whole model with the edit in it is written by `workbench bake`.

    Adapters that open by the prompt (SPM's) are written as always open.

    Example:  workbench export toy edits/fox-uce --as webui --out fox.safetensors
    """  # fmt: skip
    check_new(out)
    import workbench as wb

    handle, found = opened(model, device="cpu"), wb.load_edit(edit)
    if form == "text-encoder":
        which = wb.to_text_encoder(found, handle, out)
        typer.echo(f"Saved the {which} of {model} with the edit in {out}. Transformers' from_pretrained reads it.")
        return
    found.check(handle)
    written = wb.to_lora(found, out, rank=rank) if form == "lora" else wb.to_webui(found, handle, out, rank=rank)
    ranks = sorted({len(term.down) for term in written.terms.values()})
    said = f"ranks {ranks[0]} to {ranks[-1]}" if len(ranks) > 1 else f"rank {ranks[0]}"
    typer.echo(
        f"Saved {out}: {len(written.terms)} layers, {said}; {written.lost:.1%} of the norm of the change is lost."
    )
    if getattr(found, "gate", "always") != "always":
        typer.echo("The edit opens by the prompt, and the file does not: what the gate spares, it spares no longer.")
