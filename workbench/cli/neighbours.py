"""`workbench neighbours`: words near a concept, and how well nearness tells its synonyms from other words."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.lookup import one_concept, read_prompts
from workbench.cli.options import Config, Device, Json, ModelName
from workbench.cli.tables import show
from workbench.progress import progress_bars

RETAIN = "retain"


def neighbours(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="A concept file (YAML), or a name of the toy's world.")],
    among: Annotated[
        str, typer.Option(help=f"A text file with a word a line, or '{RETAIN}': the words that the concept retains.")
    ] = RETAIN,
    sae: Annotated[
        str | None, typer.Option(help="An autoencoder's folder or shipped name: also compare features.")
    ] = None,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Rank words by how near a model's text encoder has them to a concept.

    Below, with synonyms given: the cosines of synonyms and of other words, to choose a threshold (RealEra's s1 is a raw
    one).

    Example:  workbench neighbours toy fox --sae toy/text.2
    """
    import workbench as wb
    from probes.neighbours import calibration

    wanted = one_concept(concept)
    words = None if among == RETAIN else read_prompts(Path(among))
    with progress_bars() as progress:
        table = wb.find_neighbours(wb.load(model, device=device), wanted, words, sae=sae, progress=progress)
    show(table.to_dict("records"), json=json, title=f"Neighbours of {wanted.name}")
    if not json and table.known.nunique() > 1:
        rows = calibration(table, table.word[table.known]).to_dict("records")
        show(rows, json=False, title="Synonyms (known) against the other words")
