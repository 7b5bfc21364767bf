"""Edits on disk: a folder with `edit.json` (what it is) and `tensors.safetensors` (what it needs)."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from saes.disk import new_folder, read_json, read_tensors, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError, unknown_name
from workbench.edits.edit import Edit

FORMAT = "erasure-workbench edit 1"
KINDS = {  # kind → the class that has `read(folder)`
    "activation": "workbench.edits.activation:ActivationEdit",
    "adapter": "workbench.edits.adapter:AdapterEdit",
    "composed": "workbench.edits.composed:ComposedEdit",
    "guidance": "workbench.edits.guidance:GuidanceEdit",
    "prompt": "workbench.edits.prompt:PromptEdit",
    "weight": "workbench.edits.weight:WeightEdit",
}
DESCRIPTION, TENSORS = "edit.json", "tensors.safetensors"
HEAD = ("format", "kind", "versions", "tensors_sha256")


class Stored(NamedTuple):
    """The fields and the tensors of a saved edit, checked."""

    fields: dict[str, Any]
    tensors: dict[str, Tensor]


def load_edit(path: Path | str) -> Edit:
    """Reads a saved edit of any kind. Raises `WorkbenchError` if it is absent, damaged, or of another version."""
    path = Path(path)
    description = read_json(path / DESCRIPTION)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise WorkbenchError(f"{path} is no edit of this version ({FORMAT}).", "Fit the method again.")
    if description.get("kind") not in KINDS:
        raise unknown_name("kind of edit", str(description.get("kind")), KINDS)
    module, name = KINDS[description["kind"]].split(":")
    return getattr(import_module(module), name).read(path)


def write_edit(path: Path | str, kind: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes a new edit folder atomically. Equal edits have equal files."""
    with new_folder(path) as folder:
        write_tensors(folder / TENSORS, tensors)
        head = (FORMAT, kind, {name: version(name) for name in ("torch", "diffusers", "transformers")})
        described = dict(zip(HEAD, (*head, sha256_of(folder / TENSORS)), strict=True))
        write_json(folder / DESCRIPTION, {**described, **fields})


def read_edit(path: Path, fields: tuple[str, ...]) -> Stored:
    """What `write_edit` wrote. Raises `WorkbenchError` for other fields, and if the tensors are not those saved."""
    description = read_json(path / DESCRIPTION, (*HEAD, *fields))
    tensors = read_tensors(path / TENSORS)
    if sha256_of(path / TENSORS) != description["tensors_sha256"]:
        raise WorkbenchError(f"{path / TENSORS} was changed after it was saved.", "Take another copy, or fit it again.")
    return Stored({name: description[name] for name in fields}, tensors)
