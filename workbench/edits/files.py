"""Edits on disk: a folder with `edit.json` (what it is) and `tensors.safetensors` (what it needs)."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from torch import Tensor

from saes.disk import new_folder, read_json, read_tensors, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError
from workbench.edits.edit import Edit
from workbench.plugins import Table

FORMAT = "erasure-workbench edit 1"
KINDS = {  # kind → the class that has `read(folder)`
    "activation": "workbench.edits.activation:ActivationEdit",
    "adapter": "workbench.edits.adapter:AdapterEdit",
    "composed": "workbench.edits.composed:ComposedEdit",
    "guidance": "workbench.edits.guidance:GuidanceEdit",
    "prompt": "workbench.edits.prompt:PromptEdit",
    "token": "workbench.edits.token:TokenEdit",
    "weight": "workbench.edits.weight:WeightEdit",
}
TABLE = Table("kind of edit", "workbench.edits", KINDS)
DESCRIPTION, TENSORS = "edit.json", "tensors.safetensors"
HEAD = ("format", "kind", "versions", "tensors_sha256")


class Stored(NamedTuple):
    """The fields and the tensors of a saved edit, checked."""

    fields: dict[str, Any]
    tensors: dict[str, Tensor]


def load_edit(path: Path | str) -> Edit:
    """Reads a saved edit of any kind.

    Args:
        path: Its folder.

    Returns:
        The edit.

    Raises:
        WorkbenchError: It is absent, damaged, of another version, or of a kind that no installed package knows.
    """
    path = Path(path)
    return TABLE.find(_kind(path)).read(path)


def write_edit(path: Path | str, kind: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes a new edit folder atomically. Equal edits have equal files.

    Args:
        path: The folder.
        kind: The kind of the edit.
        fields: What `edit.json` holds beside its head, as JSON says it.
        tensors: Any number, of any shape and device.

    Raises:
        WorkbenchError: The folder exists already, or cannot be written.
    """
    with new_folder(path) as folder:
        write_tensors(folder / TENSORS, tensors)
        head = (FORMAT, kind, {name: version(name) for name in ("torch", "diffusers", "transformers")})
        described = dict(zip(HEAD, (*head, sha256_of(folder / TENSORS)), strict=True))
        write_json(folder / DESCRIPTION, {**described, **fields})


def read_edit(path: Path, kind: str, fields: tuple[str, ...]) -> Stored:
    """Reads what `write_edit` wrote.

    Args:
        path: The folder.
        kind: The kind that it must be of.
        fields: The fields that it must have beside the head, and no others.

    Returns:
        Fields and tensors, the tensors on the CPU.

    Raises:
        WorkbenchError: The edit is of another kind, has other fields, or other tensors than were saved.
    """
    check_kind(path, kind)
    description = read_json(path / DESCRIPTION, (*HEAD, *fields))
    tensors = read_tensors(path / TENSORS)
    if sha256_of(path / TENSORS) != description["tensors_sha256"]:
        raise WorkbenchError(f"{path / TENSORS} was changed after it was saved.", "Take another copy, or fit it again.")
    return Stored({name: description[name] for name in fields}, tensors)


def check_kind(path: Path, kind: str) -> None:
    """Refuses a folder of another kind of edit.

    Args:
        path: The folder.
        kind: The kind that is wanted.

    Raises:
        WorkbenchError: It holds another kind, or no edit of this version.
    """
    found = _kind(path)
    if found != kind:
        raise WorkbenchError(f"{path} holds a {found} edit, where a {kind} edit is wanted.", "Give another folder.")


def typed(kind: type, fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of a description as the class has them: 1 becomes 1.0 where a float is wanted, and nothing else moves.

    Args:
        kind: The class.
        fields: What the description says.
        path: The folder to blame.

    Returns:
        The fields, converted.

    Raises:
        WorkbenchError: A field is of another type than the class says; the first is named.
    """
    from pydantic import TypeAdapter, ValidationError

    hints, found = get_type_hints(kind), {}
    for name, value in fields.items():
        try:
            found[name] = TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise WorkbenchError(
                f"{path / DESCRIPTION}: {name}: {said}.", "Take another copy, or fit the method again."
            ) from None
    return found


def _kind(path: Path) -> str:
    if path.is_file():
        raise WorkbenchError(f"{path} is a file, and an edit is a folder.", "Give the folder that `edit.save` wrote.")
    description = read_json(path / DESCRIPTION)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise WorkbenchError(f"{path} is no edit of this version ({FORMAT}).", "Fit the method again.")
    return str(description.get("kind"))
