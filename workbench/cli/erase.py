"""`workbench erase`: fit one method to one or more concepts and save the edit."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.lookup import concepts_of
from workbench.cli.options import Config, Device, ModelName, Seed, check_new
from workbench.configs import build, read_pairs
from workbench.progress import progress_bars


def erase(
    model: ModelName,
    concepts: Annotated[list[str], typer.Argument(help="Concept files (YAML), or names of the toy's world.")],
    out: Annotated[Path, typer.Option(help="Folder of the new edit; refused if it exists.")],
    method: Annotated[str, typer.Option(help="The erasure method; `workbench methods` lists them.")] = "itd",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the method as name=value; repeatable.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    config: Config = None,
) -> None:
    """Take concepts out of a model.

    Example:  workbench erase toy fox --method itd --out edits/fox-itd
    """
    import workbench as wb

    check_new(out)
    fitted = build(wb.find_method(method), read_pairs(settings or [], "--set"), f"method {method}")
    wanted = concepts_of(concepts)
    with progress_bars() as progress:
        fitted.fit(wb.load(model, device=device), wanted, seed=seed, progress=progress).save(out)
    typer.echo(f"Saved {out}. Next: workbench evaluate {model} {concepts[0]} --edit {out} --out out/run")
