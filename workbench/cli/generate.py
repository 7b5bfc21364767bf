"""`workbench generate`: images from prompts, with any edits in place."""

from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from saes.disk import new_folder
from saes.errors import WorkbenchError
from workbench.cli.lookup import read_prompts
from workbench.cli.options import Config, Device, ModelName, Seed, all_settings
from workbench.progress import progress_bars


def generate(
    model: ModelName,
    prompts: Annotated[list[str] | None, typer.Argument(help="One or more prompts, each in quotes.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images; refused if it exists.")] = Path("out/images"),
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
    device: Device = None,
    config: Config = None,
) -> None:
    """Make images of prompts, each as <prompt number>-<seed>.png.

    Example:  workbench generate toy "a photo of a fox" --edit edits/fox-itd --out out/foxes
    """
    wanted = [*(prompts or []), *(read_prompts(prompts_file) if prompts_file else [])]
    if not wanted:
        raise WorkbenchError("There are no prompts.", "Give one in quotes, or a file with --prompts-file.")
    given = all_settings({"steps": steps, "guidance_scale": guidance_scale}, settings)
    cells = list(product(range(len(wanted)), range(seed, seed + count)))
    with new_folder(out) as folder, progress_bars() as progress:
        from PIL import Image

        import workbench as wb
        from workbench.settings import settled

        handle = wb.load(model, device=device)
        sampling = settled(handle.settings, given)
        with handle.edited(*map(wb.load_edit, edit or [])):
            images = handle.generate(
                [wanted[prompt] for prompt, _ in cells], [own for _, own in cells],
                progress=progress, **sampling,
            )  # fmt: skip
        for (prompt, own), image in zip(cells, images, strict=True):
            Image.fromarray(image).save(folder / f"{prompt:03d}-{own}.png")
    typer.echo(f"Saved {len(cells)} images in {out}.")
