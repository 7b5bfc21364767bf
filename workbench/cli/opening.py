"""Options of every command that loads a model, typed once: what is put into a pipeline before anything is done."""

import inspect
import shlex
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli.options import dtype_of

if TYPE_CHECKING:
    from workbench.models import Model

OPTIONS: dict[str, Any] = {
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
}
_chosen: dict[str, Any] = {}  # of the running command; of all its threads, since a dashboard loads in one of them


def loads_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `OPTIONS`, which `opened` reads."""

    @wraps(command)
    def run(*given: Any, **named: Any) -> None:
        _chosen.clear()
        _chosen.update({name: one for name in OPTIONS if (one := named.pop(name, None))})
        try:
            command(*given, **named)
        finally:
            _chosen.clear()

    own = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one)
        for name, one in OPTIONS.items()
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, **OPTIONS}
    return run


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

    return wb.load(model, device=device, dtype=dtype_of(dtype), **_chosen)


def check_used(model: str | None) -> None:
    """Raises `WorkbenchError` where options for a model are given and no model is."""
    if model is None and _chosen:
        raise WorkbenchError(f"{as_typed().strip()} belongs to a model, and none is named.", "Name it with --model.")


def as_typed() -> str:
    """The options of the running command again, for a command that is advised: "" or " --vae FOLDER"."""
    words = [
        f"--{name.replace('_', '-')} {shlex.quote(one)}"
        for name, given in _chosen.items()
        for one in (given if isinstance(given, list) else [given])
    ]
    return "".join(f" {word}" for word in words)
