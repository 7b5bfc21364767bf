"""`workbench neighbours`: words near a concept, and how well nearness tells its synonyms from other words."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.describing import takes_a_concept
from workbench.cli.lookup import contrast_of, read_prompts
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, ModelName, check_new
from workbench.cli.tables import show
from workbench.progress import progress_bars

RETAIN = "retain"


@loads_a_model
@takes_a_concept
def neighbours(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="A concept file (YAML), or a name of the toy's world.")],
    among: Annotated[
        str, typer.Option(help=f"A text file with a word a line, or '{RETAIN}': the words that the concept retains.")
    ] = RETAIN,
    sae: Annotated[
        str | None, typer.Option(help="An autoencoder's folder or shipped name: also compare features.")
    ] = None,
    effects: Annotated[
        bool, typer.Option(help="Also compare what the words do to the predicted noise. Runs the denoiser.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A page (HTML) with the rankings; refused if it exists.")] = None,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Rank words by how near they are to a concept: by embedding, and if asked by features and by effect.

    `reached` tells how near a word is to random neighbours of the concept's embedding, as RealEra draws them. Below,
    with synonyms given: the cosines of synonyms and of other words, to choose a threshold (RealEra's s1 is a raw one).

    Example:  workbench neighbours toy fox --sae toy/text.2 --effects
    """
    if out is not None:
        check_new(out)
    import workbench as wb
    from probes.neighbours import calibration
    from workbench.figures.neighbours import neighbour_lists
    from workbench.reports.pages import write_page

    wanted = contrast_of(concept)
    words = None if among == RETAIN else read_prompts(Path(among))
    with progress_bars() as progress:
        handle = opened(model, device=device)
        table = wb.find_neighbours(handle, wanted, words, sae=sae, effects=effects, progress=progress)
    if out is not None:
        write_page(out, f"Neighbours of {wanted.name}", {"Rankings": neighbour_lists(table), "Table": table})
    show(table.to_dict("records"), json=json, title=f"Neighbours of {wanted.name}")
    if not json and table.known.nunique() > 1:
        rows = calibration(table, table.word[table.known]).to_dict("records")
        show(rows, json=False, title="Synonyms (known) against the other words")
