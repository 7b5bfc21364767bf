"""Options of every command that loads a model, typed once: what is put into a pipeline before anything is done."""

from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.adding import Added
from workbench.cli.options import dtype_of

if TYPE_CHECKING:
    from workbench.models import Model

loads_a_model = Added({
    "lora": Annotated[
        list[str] | None,
        typer.Option(help="LoRA to add to the weights: FILE.safetensors, or FILE.safetensors=SCALE. Repeatable."),
    ],
    "scheduler": Annotated[
        str | None, typer.Option(help="Scheduler in place of the model's: a class of diffusers, or a folder.")
    ],
    "vae": Annotated[str | None, typer.Option(help="VAE in place of the model's: a folder or a hub id.")],
    "config_from": Annotated[
        str | None,
        typer.Option(help="Folder or hub id that says what a model in a single .safetensors file is built like."),
    ],
})  # fmt: skip


def opened(model: str, device: str | None = None, dtype: str | None = None) -> "Model":
    """The model of that name, with what the options of the running command put into it.

    Args:
        model: As `wb.load` takes it.
        device: Where to compute; chosen if left out.
        dtype: The name of a precision; the device's own if left out.

    Returns:
        The handle.
    """
    import workbench as wb

    return wb.load(model, device=device, dtype=dtype_of(dtype), **loads_a_model.given)


def check_used(model: str | None) -> None:
    """Raises `WorkbenchError` where options for a model are given and no model is."""
    if model is None and loads_a_model.given:
        typed = loads_a_model.as_typed().strip()
        raise WorkbenchError(f"{typed} belongs to a model, and none is named.", "Name it with --model.")
