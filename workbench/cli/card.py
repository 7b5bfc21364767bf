"""`workbench card`: the model card of an edit, with the figures of a run."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, check_new


def card(
    edit: Annotated[Path, typer.Argument(help="Folder of the edit.")],
    run: Annotated[Path, typer.Option(help="A finished run with this edit: of evaluate, compare, safety or protocol.")],
    out: Annotated[Path, typer.Option(help="Folder of the card, card.md and card.json; refused if it exists.")],
    config: Config = None,
) -> None:
    """Write the model card of an edit: what it is, what a run measured of it, and what that does not show.

    Example:  workbench card edits/fox-uce --run out/run --out cards/fox-uce
    """
    check_new(out)
    import workbench as wb
    from workbench.cards.card import card_of, write_card

    found = card_of(wb.load_edit(edit), run)
    write_card(found, out)
    typer.echo(f"Saved {out / 'card.md'} and card.json: {len(found.figures)} figures by {len(found.judges)} judges.")
