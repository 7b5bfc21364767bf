"""`workbench find`: the features of an autoencoder that carry a concept."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.describing import takes_a_concept
from workbench.cli.lookup import contrast_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, ModelName, check_new
from workbench.cli.tables import show
from workbench.progress import progress_bars


@loads_a_model
@takes_a_concept
def find(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="A concept file (YAML), or a name of the toy's world.")],
    sae: Annotated[str, typer.Option(help="Folder of an autoencoder, or the name of a shipped one.")] = "toy/text.2",
    top: Annotated[int, typer.Option(help="How many features to print.", min=1)] = 12,
    out: Annotated[Path | None, typer.Option(help="Folder for the table of all features.")] = None,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Rank the features that fire on a concept and not on what should be kept.

    Example:  workbench find toy fox --top 5
    """
    if out is not None:
        check_new(out)
    import workbench as wb

    wanted = contrast_of(concept)
    with progress_bars() as progress:
        features = wb.find_features(opened(model, device=device), sae, wanted, progress=progress)
    if out is not None:
        features.save(out)
    show(features.of(wanted.name).head(top).to_dict("records"), json=json, title=f"Features of {wanted.name}")
