"""`workbench name`: what the features of an autoencoder detect, and what they are called from then on."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.disk import read_text
from saes.errors import WorkbenchError
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, Seed
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    import pandas as pd

PROMPT = "prompt"


@loads_a_model
def name(
    sae: Annotated[str, typer.Argument(help="Folder of an autoencoder, or the name of a shipped one.")],
    model: Annotated[str, typer.Option(help="'toy', a hub id, or a diffusers folder.")] = "toy",
    factors: Annotated[
        Path | None,
        typer.Option(
            help=f"CSV with a column '{PROMPT}' and one of 0 and 1 for each factor; the toy's captions if out."
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(help="How many captions of the toy are drawn.", min=4)] = 1600,
    write: Annotated[bool, typer.Option(help="Keep the names in the autoencoder's folder.")] = True,
    top: Annotated[int, typer.Option(help="How many features to print.", min=1)] = 20,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Name features after what they detect, with precision and recall on prompts that had no part in the choice.

    Example:  workbench name out/sae

    At an image site a picture is made for every prompt: `--prompts 400` is enough for a first look. Factors
    that are too rare among the toy's captions to be chosen on one half and judged on the other are left out.
    """
    from saes.names import write_names
    from workbench.activations.autoencoders import open_sae
    from workbench.interpret.naming import feature_names, name_sae
    from workbench.shipped import sae_folder

    texts, known = _examples(factors, prompts, seed)
    with progress_bars() as progress:
        handle = opened(model, device=device)
        table = name_sae(handle, open_sae(sae), texts, known, seed=seed, progress=progress)
    names = feature_names(table)
    if write:
        write_names(sae_folder(sae), names)
    shown = table.sort_values("f1", ascending=False).head(top)
    show(shown.to_dict("records"), json=json, title=f"The features of {sae} that detect best")
    detectors = sum(bool(each.factor) for each in names.values())
    typer.echo(f"{detectors} of {len(table)} features detect a factor (F1 of 0.5 or more).", err=True)


def _examples(path: Path | None, n: int, seed: int) -> "tuple[list[str], pd.DataFrame]":
    """Prompts and their factors, from a file or from the toy's world."""
    import pandas as pd

    if path is None:
        from workbench.toy.checks import captioned_factors

        return captioned_factors(n, seed)
    try:
        table = pd.read_csv(io.StringIO(read_text(path)))
    except ValueError as error:
        raise WorkbenchError(
            f"{path} cannot be read as CSV ({error}).", "Write a header and a line a prompt."
        ) from None
    flags = table.drop(columns=PROMPT, errors="ignore")
    if PROMPT not in table or flags.empty or not flags.isin([0, 1]).all(axis=None):
        raise WorkbenchError(
            f"{path} does not hold factors.", f"It needs a column {PROMPT!r}, and columns of 0 and 1, one a factor."
        )
    return table[PROMPT].astype(str).tolist(), flags.astype(bool)
