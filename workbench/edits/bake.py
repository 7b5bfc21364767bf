"""Edits made permanent: an ordinary folder that diffusers, or transformers for a Janus, loads, with its lineage beside
it; and the way back.

A baked weight is W′ = fl(W + Δ), the very number that is in place inside `model.edited`. Taking the edit out by
subtraction gives W″ = fl(W′ − Δ), and each of the two roundings moves a number by half a unit in its last place:
    (1)  |W″ − W| ≤ ½ ulp(W′) + ½ ulp(W″)      for each edit, in the dtype that the model is loaded and saved in
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from saes.disk import new_folder, read_json, write_json
from saes.errors import WorkbenchError
from workbench.edits.edit import Edit
from workbench.edits.weight import WeightEdit
from workbench.models import Model
from workbench.models.diffusion.loading import DEFAULTS_FILE
from workbench.models.provenance import networks
from workbench.models.quiet import quiet
from workbench.models.weights import fingerprint, weight_files
from workbench.models.wrapped import check_plain

FORMAT = "erasure-workbench baked 1"
LINEAGE = "baked.json"


class Undone(NamedTuple):
    """How near un-baking came to the weights without the edits: the very files of the base, or within `bound` by (1).

    No bound is known where an edit stays that was baked later, since its sum was rounded with the others in place; nor
    where the base had been changed in memory (a fused adapter) before it was baked, since no files of it are left.
    """

    bit_equal: bool
    bound: float | None


def bake(model: Model, edits: Edit | Sequence[Edit], folder: Path | str) -> Path:
    """Saves the model with the edits in place, composed in this order, as a folder in the layout that it came from.

    Weights are safetensors in the dtype that the model is loaded in. `baked.json` says from which model and edits they
    came, and `workbench.json` holds the model's defaults; other programs pass over both.

    Args:
        model: The model that the edits were fitted on.
        edits: One or several.
        folder: A new folder.

    Returns:
        The folder.

    Raises:
        WorkbenchError: The folder exists, an edit is of another model, or one acts while the model runs.
    """
    wanted = _weight_edits(edits)
    return _save(model, wanted, folder, _lineage(model, wanted, factor=1))


def unbake(model: Model, edits: Edit | Sequence[Edit], folder: Path | str) -> Undone:
    """Saves a baked model without some of its edits, taken out by subtraction, as a new folder.

    Args:
        model: One that was loaded from a baked folder.
        edits: Those to take out.
        folder: A new folder.

    Returns:
        How near the weights are to those without the edits.

    Raises:
        WorkbenchError: The model was not baked, the edits are none of those that were baked into it, or the folder
            exists.
    """
    wanted = _weight_edits(edits)
    if not (model.folder / LINEAGE).is_file():
        raise WorkbenchError(f"{model.name} was not baked: it has no {LINEAGE}.", "Give a folder that `bake` wrote.")
    if model.provenance.more:
        raise WorkbenchError(f"A LoRA was added to {model.name} when it was loaded.", "Load it without --lora.")
    for edit in wanted:
        _check_baked(edit, model)
    back = [replace(edit.scaled(-1.0), base_fingerprint=model.fingerprint) for edit in reversed(wanted)]
    lineage = _lineage(model, wanted, factor=-1)
    saved = _save(model, back, folder, lineage)
    exact = _fingerprint(model, saved) == lineage["base"]["fingerprint"]
    known = lineage["base"].get("as_loaded", True) and _were_last(model, wanted)
    return Undone(exact, _bound(model, back) if known else None)


def ulp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The unit in the last place of each number in its own dtype.

    Args:
        x: Numbers of any shape and floating dtype.

    Returns:
        Of the same shape, in float64.
    """
    kind = torch.finfo(x.dtype)
    size = x.double().abs().clamp(min=kind.tiny)  # below it, numbers are as far apart as at it
    return torch.ldexp(torch.full_like(size, kind.eps), torch.frexp(size).exponent - 1)


def _weight_edits(edits: Edit | Sequence[Edit]) -> list[WeightEdit]:
    given = list(edits) if isinstance(edits, Sequence) else [edits]
    if not given:
        raise WorkbenchError("There is no edit to bake.", "Give at least one.")
    return [weights for edit in given for weights in edit.in_weights()]


def _save(model: Model, edits: Sequence[WeightEdit], folder: Path | str, lineage: dict[str, Any]) -> Path:
    if model.is_edited:
        raise WorkbenchError("The model is edited already.", "Bake outside of `with model.edited(…)`, all at once.")
    for name, part in networks(model.pipe):
        check_plain(part, name, "be baked")
    with new_folder(folder) as new, model.edited(*edits), quiet():
        model.pipe.save_pretrained(new, safe_serialization=True)
        write_json(new / DEFAULTS_FILE, model.own_file)
        write_json(new / LINEAGE, lineage)
    return Path(folder)


def _lineage(model: Model, edits: Sequence[WeightEdit], factor: int) -> dict[str, Any]:
    """What `baked.json` says: the first model, and every edit that was put in (1) or taken out (−1) since."""
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers")}
    base = {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "as_loaded": model.provenance.is_as_loaded(model.pipe),
    }
    before: dict[str, Any] = {"base": base, "steps": []}
    if (model.folder / LINEAGE).is_file() and not model.provenance.more:  # a LoRA at load makes it another base
        before = read_lineage(model.folder)
    steps = [*before["steps"], *({"factor": factor, **_described(edit)} for edit in edits)]
    return {"format": FORMAT, "base": before["base"], "steps": steps, "versions": versions}


def read_lineage(folder: Path) -> dict[str, Any]:
    """What `baked.json` of a folder says.

    Args:
        folder: A folder that `bake` or `unbake` wrote.

    Returns:
        `base`, the first model, and `steps`, what was put in and taken out since.

    Raises:
        WorkbenchError: It is absent, damaged or of another version.
    """
    lineage = read_json(folder / LINEAGE, ("format", "base", "steps", "versions"))
    if lineage["format"] != FORMAT:
        raise WorkbenchError(f"{folder / LINEAGE} is not of this version ({FORMAT}).", "Bake the model again.")
    return lineage


def _described(edit: WeightEdit) -> dict[str, Any]:
    own = {name: getattr(edit, name) for name in ("method", "seed", "base_fingerprint")}
    own |= {"concepts": list(edit.concepts), "settings": dict(edit.settings), "parameters": edit.names}
    return {**own, "tensors_sha256": _sha256_of(edit)}


def _sha256_of(edit: WeightEdit) -> str:
    """The hash of the tensors' file, if the edit is or were saved."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in edit.tensors.items()}
    return hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()


def _check_baked(edit: WeightEdit, model: Model) -> None:
    steps, own = read_lineage(model.folder)["steps"], _sha256_of(edit)
    if sum(step["factor"] for step in steps if step["tensors_sha256"] == own) < 1:
        known = "; ".join(f"{step['method']} of {', '.join(step['concepts'])}" for step in steps if step["factor"] > 0)
        raise WorkbenchError(
            f"The {edit.method} edit of {', '.join(edit.concepts)} is not baked into {model.name}.",
            f"Baked were: {known}.",
        )


def _were_last(model: Model, edits: Sequence[WeightEdit]) -> bool:
    """Whether the edits are the last of those that are still baked in."""
    left: list[str] = []
    for step in read_lineage(model.folder)["steps"]:
        if step["factor"] > 0:
            left.append(step["tensors_sha256"])
        else:
            left.reverse()
            left.remove(step["tensors_sha256"])  # the latest of equals
            left.reverse()
    return sorted(left[-len(edits) :]) == sorted(_sha256_of(edit) for edit in edits)


def _fingerprint(model: Model, folder: Path) -> str:
    places = {name: paths[0].parent for name, paths in model.provenance.files.items()}  # a VAE may be from elsewhere
    return fingerprint({
        name: weight_files(folder, str(place.relative_to(model.folder) if place.is_relative_to(model.folder) else name))
        for name, place in places.items()
    })  # fmt: skip


def _bound(model: Model, edits: Sequence[WeightEdit]) -> float:
    """(1) at its largest over all numbers that an edit changes, summed over the edits."""
    bound = 0.0
    with ExitStack() as stack:
        for edit in edits:
            before = {name: model.parameter(name).data for name in edit.names}
            stack.enter_context(model.edited(edit))
            both = ((ulp(weight), ulp(model.parameter(name).data)) for name, weight in before.items())
            bound += max(float((old + new).max()) for old, new in both) / 2  # (1)
    return bound
