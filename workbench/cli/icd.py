"""`workbench icd`: pictures of a folder, a share of which gets what no caption says."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Seed, check_writable
from workbench.progress import progress_bars


def icd(
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures, each with its caption in a .txt beside it.")],
    concept: Annotated[str, typer.Option(help="What is put into them: watermark, code (a QR code), or text.")],
    out: Annotated[Path, typer.Option(help="Folder of the set; an unfinished one is continued.")],
    share: Annotated[float, typer.Option(help="Of the pictures that get it.", min=0, max=1)] = 0.5,
    size: Annotated[int | None, typer.Option(help="Side of square pictures; their own sizes if left out.")] = None,
    caption: Annotated[str | None, typer.Option(help="For pictures without a caption of their own.")] = None,
    seed: Seed = 0,
    config: Config = None,
) -> None:
    """Make an implicit-concept set: pictures, captions that do not say it, and the boxes where it is.

    Example:  workbench icd photos --concept code --share 0.6 --out out/icd-code
    """
    check_writable(out)
    from workbench.fitting.contaminating import implicit_set

    with progress_bars() as progress:
        made = implicit_set(pictures, out, concept, share, seed=seed, size=size, caption=caption, progress=progress)
    shown = sum(one.box is not None for one in made.pictures)
    typer.echo(
        f"Saved {len(made.pictures)} pictures in {out}, {shown} with a {concept}. "
        f"Next: workbench erase MODEL concept.yaml --method geom_erasing --set folder={out} --out edits/without"
    )
