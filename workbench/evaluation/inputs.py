"""Prompts of a run that are no text: token ids and token embeddings, kept in `RUN/inputs` under their own hashes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saes.disk import read_tensors, write_tensors
from saes.errors import WorkbenchError
from workbench.evaluation.spec import Cell
from workbench.identity import hashed
from workbench.models import TokenEmbeddings, TokenIds
from workbench.models.provenance import digest_of

IDS, EMBEDDINGS = "ids", "embeddings"
NotText = TokenIds | TokenEmbeddings


def input_hash(prompt: NotText) -> str:
    """What a prompt that is no text is called: 80 bits of the SHA-256 of its numbers.

    Args:
        prompt: Ids or embeddings of one row.

    Raises:
        WorkbenchError: It has more rows than one.
    """
    if len(prompt) != 1:
        raise WorkbenchError(f"A row of a suite is one prompt, and {len(prompt)} were given.", "Take `prompt.rows()`.")
    return hashed(digest_of(prompt))[:20]


def keep_inputs(run_dir: Path, inputs: Mapping[str, NotText]) -> None:
    """Writes prompts that are not there yet, each to `RUN/inputs/<hash>.safetensors`."""
    for name, prompt in inputs.items():
        if not (path := _path(run_dir, name)).exists():
            tensors = {f"{IDS}.{place}": one for place, one in enumerate(prompt.ids)}
            if isinstance(prompt, TokenEmbeddings):
                tensors |= {f"{EMBEDDINGS}.{place}": one.detach() for place, one in enumerate(prompt.embeddings)}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors)


def read_input(run_dir: Path, name: str) -> NotText:
    """A prompt of a run by its hash. Raises `WorkbenchError` if it is absent, damaged or another."""
    tensors = read_tensors(_path(run_dir, name))
    ids, embeddings = _in_order(tensors, IDS), _in_order(tensors, EMBEDDINGS)
    prompt: NotText = TokenEmbeddings(ids, embeddings) if embeddings else TokenIds(ids)
    if not ids or input_hash(prompt) != name:
        raise WorkbenchError(f"{_path(run_dir, name)} was altered.", "Restore a copy, or evaluate the suite again.")
    return prompt


def prompts_of(run_dir: Path, cells: Sequence[Cell]) -> list[Any]:
    """What the model is to be given for each cell: a text, or ids or embeddings of one row."""
    return [read_input(run_dir, one.input) if one.input else one.prompt for one in cells]


def _path(run_dir: Path, name: str) -> Path:
    return run_dir / "inputs" / f"{name}.safetensors"


def _in_order(tensors: Mapping[str, Any], what: str) -> tuple:
    return tuple(tensors[name] for name in sorted(tensors) if name.startswith(f"{what}."))
