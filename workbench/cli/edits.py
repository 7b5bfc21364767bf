"""`workbench edits`: what saved edits are, what is inside them, and whether they fit a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.opening import check_used, loads_a_model, opened
from workbench.cli.options import Config, Json
from workbench.cli.tables import show as show_rows

app = typer.Typer(help="Saved edits: what they are and what is inside.", no_args_is_help=True)
Fits = Annotated[str | None, typer.Option(help="Refuse edits that do not fit this model.")]


@app.command(name="list")
@loads_a_model
def list_edits(
    folders: Annotated[list[Path], typer.Argument(help="Folders of edits.")],
    model: Fits = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Describe saved edits, one a line.

    Example:  workbench edits list edits/fox-itd edits/fox-uce --model toy
    """
    import workbench as wb

    check_used(model)
    found = [wb.load_edit(folder) for folder in folders]
    if model is not None:
        handle = opened(model)
        for edit in found:
            edit.check(handle)
    rows = [described(folder, edit) for folder, edit in zip(folders, found, strict=True)]
    show_rows(rows if json else [_marked(row) for row in rows], json=json, title="Edits")


@app.command()
@loads_a_model
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of an edit.")],
    model: Annotated[
        str | None, typer.Option(help="The model that it was fitted on, to compare with its weights.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show one edit: its settings, and for each parameter the rank, norm and singular values, or its features.

    Example:  workbench edits show edits/fox-uce --model toy
    """
    import workbench as wb

    check_used(model)
    edit = wb.load_edit(folder)
    handle = None if model is None else opened(model)
    if handle is not None:
        edit.check(handle)
    parts = [(part, part.rows(handle)) for part in edit.leaves()]
    if json:
        whole = [{**described(folder, part), "settings": dict(part.settings), "contents": rows} for part, rows in parts]
        show_rows(whole, json=True)
        return
    for part, rows in parts:
        row = _marked(described(folder, part))
        show_rows([row], json=False, title=f"{row['method']} of {', '.join(part.concepts)}")
        settings = [{"setting": name, "value": str(value)} for name, value in part.settings.items()]
        show_rows(settings, json=False, title="Settings")
        show_rows([_short(row) for row in rows], json=False, title="What it changes")


def described(folder: Path, edit: Any) -> dict[str, Any]:
    """An edit as a row."""
    return {
        "edit": str(folder), "kind": edit.kind, "method": edit.method, "concepts": list(edit.concepts),
        "seed": edit.seed, "model": edit.base_fingerprint[:12],
    }  # fmt: skip


def _marked(row: dict[str, Any]) -> dict[str, Any]:
    """For people: a method that is a reconstruction says so."""
    from workbench.erasure import shown

    return {**row, "method": shown(row["method"])}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a list to three digits, a shape as 320×768."""
    row = {**row}
    if "singular_values" in row:
        row["singular_values"] = " ".join(f"{value:.3g}" for value in row["singular_values"])
        row["shape"] = "×".join(map(str, row["shape"]))
    return row
