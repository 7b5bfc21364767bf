"""`workbench methods --memory`: what trainings take on a GPU, by arithmetic on the shapes of published models."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saes.progress import Progress

if TYPE_CHECKING:
    import torch

    from workbench.fitting.blueprints import Blueprint
    from workbench.fitting.peak import Peak

GIB = 2**30
TITLE = (
    "GiB that a training takes at its peak, weights loaded in float16, settings at their defaults. By arithmetic on "
    "shapes, not measured: a GPU adds workspaces of convolutions, its allocator's reserve, and the context of CUDA"
)


def memory_rows(names: list[str], progress: Progress) -> list[dict[str, Any]]:
    """A row for each published size of model and each method that trains on it, in GiB.

    Args:
        names: Of methods.
        progress: Told of the rows: each takes seconds.

    Returns:
        First a row for drawing a batch of pictures, which methods do that train nothing.
    """
    from workbench.fitting.blueprints import PUBLISHED

    jobs = [(size, name) for size in PUBLISHED for name in ["", *names]]
    rows = [_row(size, PUBLISHED[size], name) for size, name in progress(jobs, "memory", len(jobs))]
    return [row for row in rows if row is not None]


def _row(size: str, blueprint: "Blueprint", name: str) -> dict[str, Any] | None:
    """None for a method that trains nothing, or not on this model."""
    import torch

    from workbench.erasure import find_method
    from workbench.fitting.peak import drawing_memory

    if not name:
        return _said(size, "16 pictures drawn at once", drawing_memory(blueprint, torch.float16))
    plain, saved = (peak_of(find_method(name)(), blueprint, torch.float16, saving) for saving in (False, True))
    if plain is None or saved is None:
        return None
    parts = {part: getattr(plain, part) / GIB for part in ("parameters", "copies", "moments", "gradients")}
    return _said(size, name, plain.total, **parts, activations=plain.activations / GIB) | {
        "activations, save_memory": saved.activations / GIB, "peak, save_memory": saved.total / GIB,
    }  # fmt: skip


def _said(size: str, name: str, total: int, **parts: float) -> dict[str, Any]:
    columns = ("parameters", "copies", "moments", "gradients", "activations")
    empty = {"activations, save_memory": None, "peak, save_memory": None}
    return {"model": size, "method": name, **{part: parts.get(part) for part in columns}, "peak": total / GIB, **empty}


def peak_of(method: Any, blueprint: "Blueprint", dtype: "torch.dtype", save_memory: bool) -> "Peak | None":
    """The memory of a training.

    Args:
        method: With its settings.
        blueprint: The model.
        dtype: Of its weights.
        save_memory: Whether it trades time for memory.

    Returns:
        None for a method that trains nothing, or does not apply to the model.
    """
    from workbench.fitting.peak import peak_memory
    from workbench.fitting.skeletons import skeleton

    if not hasattr(method, "save_memory"):
        return None
    method = replace(method, save_memory=save_memory)
    with skeleton(blueprint, dtype) as bones:
        if not method.supports.capabilities <= bones.model.capabilities:
            return None
        footprint = method.footprint(bones.model)
    return None if footprint is None else peak_memory(footprint, blueprint, dtype, save_memory=save_memory)
