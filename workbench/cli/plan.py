"""`workbench plan`: what a fit will take, before anything is loaded or downloaded."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from saes.settings import build
from workbench.cli.memory import GIB, peak_of
from workbench.cli.options import Config, Json, ModelName, Precision
from workbench.cli.tables import show
from workbench.configs import read_pairs
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.fitting.blueprints import Blueprint

TITLE = (
    "GiB at the peak, by arithmetic on shapes: workspaces, the allocator's reserve and the context of CUDA come on top"
)
NOT_HERE = "does not apply to this model"


def plan(
    model: ModelName,
    method: Annotated[list[str] | None, typer.Option(help="A method; repeatable, all if left out.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as name=value, where one method is named.")
    ] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision of the weights.")] = "float16",
    size: Annotated[int | None, typer.Option(help="Side of the pictures; the model's own if left out.", min=64)] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures drawn at once.", min=1)] = 16,
    memory: Annotated[
        float | None, typer.Option(help="What there is, in GiB; this machine's GPU if left out.", min=0.1)
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say what fits of a model will take, from its configuration files alone: peak memory, and what runs.

    Every turn of a training is played on a model without numbers, and the bytes that are alive are counted. Of a hub id
    no weights are downloaded.

    Example:  workbench plan toy --method esd --set batch=4

    For a card:  workbench plan stable-diffusion-v1-5/stable-diffusion-v1-5 --memory 24
    """
    if settings and len(method or ()) != 1:
        raise WorkbenchError("--set belongs to one method.", "Name it with --method, once.")
    from workbench.erasure import find_method, methods
    from workbench.fitting.blueprints import blueprint_in
    from workbench.models.loading import find_configs

    names = method or sorted(methods())
    chosen: dict[str, Any] = {
        name: build(find_method(name), read_pairs(settings or [], "--set"), f"method {name}") for name in names
    }
    blueprint = blueprint_in(find_configs(model), size)
    available = memory if memory is not None else _of_this_gpu()
    with progress_bars() as progress:
        rows = [_drawing(blueprint, dtype, batch_size)]
        rows += [_row(blueprint, name, chosen[name], dtype) for name in progress(names, "plan")]
    if available is not None:
        rows = [{**row, f"fits {available:g} GiB": _fits(row, rows[0], available)} for row in rows]
    show(rows, json=json, title=f"{model}, {blueprint.image_size} px, weights in {dtype}. {TITLE}")


def _drawing(blueprint: "Blueprint", dtype: str, pictures: int) -> dict[str, Any]:
    import torch

    from workbench.fitting.peak import drawing_memory

    drawn = f"{pictures} picture{'s' * (pictures > 1)} drawn at once"
    return _said(drawn, drawing_memory(blueprint, getattr(torch, dtype), pictures), None, "")


def _row(blueprint: "Blueprint", name: str, method: Any, dtype: str) -> dict[str, Any]:
    import torch

    from workbench.fitting.skeletons import skeleton

    with skeleton(blueprint, getattr(torch, dtype)) as bones:
        if not method.supports.capabilities <= bones.model.capabilities:
            return _said(name, None, None, NOT_HERE)
    plain, saved = (peak_of(method, blueprint, getattr(torch, dtype), saving) for saving in (False, True))
    if plain is None or saved is None:
        return _said(name, None, None, f"trains nothing; {method.cost}")
    return _said(name, plain.total, saved.total, method.cost)


def _said(name: str, peak: int | None, saved: int | None, runs: str) -> dict[str, Any]:
    plain, least = (None if one is None else one / GIB for one in (peak, saved))
    return {"method": name, "peak": plain, "peak, save_memory": least, "cost of the defaults": runs}


def _fits(row: dict[str, Any], drawing: dict[str, Any], available: float) -> str:
    """Whatever a method trains, it draws pictures too, before or after."""
    if row["cost of the defaults"] == NOT_HERE:
        return ""
    for column, answer in (("peak", "yes"), ("peak, save_memory", "with save_memory=true")):
        if row[column] is not None and row[column] <= available:
            return answer
    if row["peak"] is None:
        return "yes" if drawing["peak"] <= available else "with a smaller --batch-size"
    return "no"


def _of_this_gpu() -> float | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory / GIB if torch.cuda.is_available() else None
