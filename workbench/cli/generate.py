"""`workbench generate`: images from prompts, with any edits in place."""

from pathlib import Path
from typing import Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.lookup import read_prompts
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, ModelName, Seed, all_settings
from workbench.progress import progress_bars


@loads_a_model
def generate(
    model: ModelName,
    prompts: Annotated[list[str] | None, typer.Argument(help="One or more prompts, each in quotes.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images; an unfinished one goes on.")] = Path("out/images"),
    prompts_file: Annotated[Path | None, typer.Option(help="Prompts: one a line, or a list in CSV or JSON.")] = None,
    edit: Annotated[list[Path] | None, typer.Option(help="Folder of an edit; repeat to compose several.")] = None,
    count: Annotated[int, typer.Option(help="Images of each prompt; their seeds count up from --seed.", min=1)] = 4,
    seed: Seed = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own if left out.", min=1)] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance; the model's own if left out.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting of this kind of model, such as temperature=0.7 of a Janus."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    device: Device = None,
    dtype: Dtype = None,
    config: Config = None,
) -> None:
    """Make images of prompts, each saved at once as <prompt number>-<seed>.png, beside a record of what made them.

    Example:  workbench generate toy "a photo of a fox" --edit edits/fox-itd --out out/foxes
    """
    wanted = [*(prompts or []), *(read_prompts(prompts_file) if prompts_file else [])]
    if not wanted:
        raise WorkbenchError("There are no prompts.", "Give one in quotes, or a file with --prompts-file.")
    import workbench as wb
    from workbench.picture_folder import check_folder, generate_into

    check_folder(out)
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress, handle.edited(*map(wb.load_edit, edit or [])):
        files = generate_into(
            out, handle, wanted, range(seed, seed + count), batch_size=batch_size, progress=progress,
            **all_settings({"steps": steps, "guidance_scale": guidance_scale}, settings),
        )  # fmt: skip
    typer.echo(f"Saved {len(files)} images in {out}.")
