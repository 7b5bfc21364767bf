"""What rows of a run are given that is no text: ids, embeddings, encodings, starts of pictures, further edits.

Each is kept in `RUN/inputs` under its own hash; the further edits in `RUN/edits`, as all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saes.disk import read_tensors, write_tensors
from saes.errors import WorkbenchError
from workbench.edits import Edit, load_edit
from workbench.evaluation.saving import EDITS, save_edit
from workbench.evaluation.spec import Cell
from workbench.identity import hashed
from workbench.models import Begun, Continued, Encoding, Model, TokenEmbeddings, TokenIds, encoding
from workbench.models.diffusion import begun
from workbench.models.images import Images
from workbench.models.janus import continued
from workbench.models.prompts import joined
from workbench.models.provenance import digest_of

IDS, EMBEDDINGS, ENCODED, POOLED = "ids", "embeddings", "encoded", "pooled"
TEXT, NOISE, LATENTS, TIMESTEP, CODES, EDIT = "text", "noise", "latents", "timestep", "codes", "edit"


@dataclass(frozen=True, eq=False)
class Further:
    """A text, drawn with one more edit in place, after that of the condition: what an attack changed in the model."""

    prompt: str
    edit: Edit

    def __len__(self) -> int:
        return 1


NotText = TokenIds | TokenEmbeddings | Encoding | Begun | Continued | Further


def input_hash(prompt: NotText) -> str:
    """What a prompt that is no text is called: 80 bits of the SHA-256 of its numbers.

    Args:
        prompt: Of one row.

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
            tensors = _tensors(prompt)
            if isinstance(prompt, Further):
                tensors[EDIT] = _said(save_edit(run_dir, prompt.edit).hash)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors)


def read_input(run_dir: Path, name: str) -> NotText:
    """A prompt of a run by its hash. Raises `WorkbenchError` if it is absent, damaged or another."""
    tensors = read_tensors(_path(run_dir, name))
    prompt = _prompt(run_dir, tensors)
    if prompt is None or input_hash(prompt) != name:
        raise WorkbenchError(f"{_path(run_dir, name)} was altered.", "Restore a copy, or evaluate the suite again.")
    return prompt


def prompts_of(run_dir: Path, cells: Sequence[Cell]) -> list[Any]:
    """What the model is to be given for each cell: a text, or what is none, of one row."""
    known = {one.input: read_input(run_dir, one.input) for one in cells if one.input}
    return [known[one.input] if one.input else one.prompt for one in cells]


def pictures(
    model: Model, given: Sequence[str | NotText], seeds: Sequence[int], *, batch_size: int, **sampling: Any
) -> Images:
    """What a model draws, as it is, of prompts of all sorts, each of one row; those of a sort go through it together.

    Args:
        model: The model, with the edit of a condition in place or without one.
        given: Texts, or what is none.
        seeds: One for each.
        batch_size: Pictures at once.
        **sampling: As `model.generate` takes it.

    Returns:
        uint8 `[n, height, width, 3]`, in the order of the prompts.
    """
    found: dict[int, np.ndarray] = {}
    sorts = [_sort(one) for one in given]
    for sort in dict.fromkeys(sorts):
        places = [place for place, own in enumerate(sorts) if own == sort]
        own = [given[place] for place in places]
        told = {"batch_size": batch_size, **sampling}
        made = _drawn(model, own, [seeds[place] for place in places], told)
        found |= dict(zip(places, np.asarray(made), strict=True))
    return np.stack([found[place] for place in range(len(given))])


def texts_of(model: Model, given: str | NotText) -> list[str]:
    """All that can be read of a prompt: the text, or what each tokenizer reads in its ids; nothing of an encoding."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, Encoding):
        return [text for text in given.prompts or () if text is not None]
    if isinstance(given, Further):
        return [given.prompt]
    if isinstance(given, Begun | Continued):
        return given.prompts if isinstance(given.prompts, list) else texts_of(model, given.prompts)
    named = zip(model.architecture.tokenizers, given.ids, strict=True)
    return [text for name, ids in named
            for text in getattr(model.pipe, name).batch_decode(ids, skip_special_tokens=True)]  # fmt: skip


def _drawn(model: Any, given: Sequence[Any], seeds: Sequence[int], told: Mapping[str, Any]) -> Images:
    first = given[0]
    if isinstance(first, Further):
        with model.edited(first.edit):
            return model.generate([one.prompt for one in given], seeds, **told)
    joins: dict[type, Any] = {
        Begun: begun.together, Continued: continued.together, Encoding: encoding.together,
    }  # fmt: skip
    return model.generate(joins.get(type(first), joined)(given), seeds, **told)


def _sort(one: Any) -> tuple:
    """What goes through the model together."""
    if isinstance(one, Further):
        return (Further, id(one.edit))
    if isinstance(one, Begun):
        return (Begun, type(one.prompts), one.timestep)
    if isinstance(one, Continued):
        return (Continued, _sort(one.prompts), one.codes.shape)
    ids = one.ids if isinstance(one, TokenIds | TokenEmbeddings) else ()
    return (type(one), *(part.shape for part in ids))  # a Janus pads prompts to no common length


def _path(run_dir: Path, name: str) -> Path:
    return run_dir / "inputs" / f"{name}.safetensors"


def _tensors(prompt: Any) -> dict[str, Tensor]:
    if isinstance(prompt, Further):
        return {TEXT: _said(prompt.prompt)}
    if isinstance(prompt, list):
        return {TEXT: _said(prompt[0])}
    if isinstance(prompt, Encoding):
        return {ENCODED: prompt.embeddings} | ({} if prompt.pooled is None else {POOLED: prompt.pooled})
    if isinstance(prompt, Begun):
        start = {NOISE: prompt.noise, TIMESTEP: torch.tensor(prompt.timestep, dtype=torch.float64)}
        return _tensors(prompt.prompts) | start | ({} if prompt.latents is None else {LATENTS: prompt.latents})
    if isinstance(prompt, Continued):
        return _tensors(prompt.prompts) | {CODES: prompt.codes}
    tensors = {f"{IDS}.{place}": one for place, one in enumerate(prompt.ids)}
    if isinstance(prompt, TokenEmbeddings):
        tensors |= {f"{EMBEDDINGS}.{place}": one.detach() for place, one in enumerate(prompt.embeddings)}
    return tensors


def _prompt(run_dir: Path, tensors: Mapping[str, Tensor]) -> NotText | None:
    ids, embeddings = _in_order(tensors, IDS), _in_order(tensors, EMBEDDINGS)
    text = _read(tensors[TEXT]) if TEXT in tensors else None
    if ENCODED in tensors:
        return Encoding(tensors[ENCODED], tensors.get(POOLED), ("cond",))
    if text is not None and EDIT in tensors:
        return Further(text, load_edit(run_dir / EDITS / _read(tensors[EDIT])))
    prompt = TokenEmbeddings(ids, embeddings) if embeddings else TokenIds(ids) if ids else None
    if NOISE not in tensors and CODES not in tensors:
        return prompt
    prompts = [text] if text is not None else prompt
    if prompts is not None and CODES in tensors:
        return Continued(prompts, tensors[CODES])
    if prompts is None or TIMESTEP not in tensors:
        return None
    return Begun(prompts, tensors[NOISE], tensors.get(LATENTS), float(tensors[TIMESTEP]))


def _said(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _read(said: Tensor) -> str:
    return bytes(said.tolist()).decode()


def _in_order(tensors: Mapping[str, Tensor], what: str) -> tuple[Tensor, ...]:
    return tuple(tensors[name] for name in sorted(tensors) if name.startswith(f"{what}."))
