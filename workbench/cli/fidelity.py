"""`workbench fidelity`: what an autoencoder rebuilds of held-out activations, and what its model loses by it."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Json, ModelName
from workbench.cli.tables import show
from workbench.progress import progress_bars


@loads_a_model
def fidelity(
    model: ModelName,
    sae: Annotated[str, typer.Argument(help="Folder of an autoencoder, or the name of a shipped one.")],
    store: Annotated[Path, typer.Argument(help="Store from `workbench harvest`, with the autoencoder's site.")],
    prompts: Annotated[int, typer.Option(help="Held-out prompts, at most, for the loss.", min=1)] = 32,
    device: Device = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure an autoencoder on what it has not seen: explained variance, L0, dead features, and the loss recovered.

    The loss is the model's own with the site as it is (clean), with the reconstruction in its place, and with the mean
    of the data (ablated); recovered is 1 if the reconstruction is as good as the site, 0 if it is no better than the
    mean. Of a Janus it is the cross-entropy of picture tokens, and every figure is told for text, the begin-of-image
    token and the picture's cells apart.

    Example:  workbench fidelity toy-janus out/sae out/store
    """
    import saes
    import workbench as wb
    from workbench.activations.autoencoders import open_sae

    rows = saes.ActivationStore.open(store)
    with progress_bars() as progress:
        loaded = opened(model, device=device)
        table = wb.fidelity(open_sae(sae), rows, loaded, n_prompts=prompts, progress=progress)
    show(table.to_dict("records"), json=json, title=f"{sae} on held-out rows")
