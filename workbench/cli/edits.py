"""`workbench edits`: what saved edits are, and whether they fit a model."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def edits(
    folders: Annotated[list[Path], typer.Argument(help="Folders of edits, or folders that hold some.")],
    model: Annotated[str | None, typer.Option(help="Refuse edits that do not fit this model.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Describe saved edits.

    Example:  workbench edits edits --model toy
    """
    import workbench as wb

    found = [wb.load_edit(folder) for folder in folders]
    if model is not None:
        handle = wb.load(model)
        for edit in found:
            edit.check(handle)
    rows = [
        {
            "edit": str(folder), "kind": edit.kind, "method": edit.method, "concepts": list(edit.concepts),
            "seed": edit.seed, "model": edit.base_fingerprint[:12],
        }
        for folder, edit in zip(folders, found, strict=True)
    ]  # fmt: skip
    show(rows, json=json, title="Edits")
