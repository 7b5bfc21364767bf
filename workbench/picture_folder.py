"""Pictures of prompts in a folder: each is saved when it is made, and what made them stands beside them.

A folder that was begun is continued: what is missing is made, in the batches of the whole, and what is there is left as
it is. A folder of anything else is refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from saes.disk import read_json, replacing, write_json
from saes.errors import WorkbenchError
from saes.leftovers import contents
from saes.locks import working_in
from saes.plain import plain
from saes.progress import SILENT, Progress
from workbench.models import Model
from workbench.settings import settled

RECORD = "pictures.json"
FIELDS = ("model", "weights", "parts", "prompts", "seeds", "sampling")  # of the record


def generate_into(
    folder: Path | str,
    model: Model,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch_size: int = 16,
    progress: Progress = SILENT,
    **sampling: Any,
) -> list[Path]:
    """Makes a picture of every prompt with every seed, with whatever edits are in place.

    Args:
        folder: Where they are saved, as `<number of the prompt>-<seed>.png`; made if it is not there. What an equal
            call left unfinished there is continued, even after a `kill -9`.
        model: What makes them.
        prompts: Texts.
        seeds: Whole numbers 0 … 2⁶³ − 1, each once.
        batch_size: Pictures at once.
        progress: Counts pictures.
        **sampling: Settings of the model, such as `steps`.

    Returns:
        The files, prompt by prompt.

    Raises:
        WorkbenchError: A setting is none of the model's, the folder holds something else or pictures of another model,
            edit, prompt, seed or setting, or another process works there.
    """
    folder = Path(folder)
    record = _record(model, prompts, seeds, sampling)
    _check_record(folder, record)
    cells = [
        (folder / f"{number:03d}-{seed}.png", prompt, seed) for number, prompt in enumerate(prompts) for seed in seeds
    ]
    with working_in(folder):
        for place, (path, *_) in enumerate(progress(cells, "pictures")):
            if path.exists():
                continue
            start = place - place % batch_size
            batch = cells[start : start + batch_size]
            made = model.generate([one for _, one, _ in batch], [seed for *_, seed in batch], **record["sampling"])
            if not (folder / RECORD).exists():  # not before: what `generate` refuses leaves no folder
                write_json(folder / RECORD, record)
            for (file, *_), image in zip(batch, made, strict=True):
                if not file.exists():
                    with replacing(file) as temporary:
                        Image.fromarray(image).save(temporary, format="png")
    return [path for path, *_ in cells]


def _record(model: Model, prompts: Sequence[str], seeds: Sequence[int], sampling: dict[str, Any]) -> dict[str, Any]:
    identity = model.identity
    values = (
        model.name, identity.fingerprint, dict(identity.parts), list(prompts), [plain(seed) for seed in seeds],
        settled(model.settings, sampling),
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def check_folder(folder: Path | str) -> None:
    """Refuses a folder that no pictures can be made in, whatever the model.

    Args:
        folder: For `generate_into`.

    Raises:
        WorkbenchError: It holds something else.
    """
    folder = Path(folder)
    if folder.is_file() or (contents(folder) and not (folder / RECORD).is_file()):
        raise WorkbenchError(f"{folder} exists already.", "Choose another folder, or remove that one first.")


def _check_record(folder: Path, record: dict[str, Any]) -> None:
    check_folder(folder)
    found = read_json(folder / RECORD, FIELDS) if (folder / RECORD).exists() else record
    for field in FIELDS:
        if found[field] != record[field]:
            raise WorkbenchError(
                f"{folder} holds pictures made with other {_which(found[field], record[field], field)}.",
                "Choose another folder, or remove that one first.",
            )


def _which(found: Any, asked: Any, field: str) -> str:
    """The names of what differs: "seeds", or of settings and parts of a model, "steps, edits"."""
    if not isinstance(found, dict):
        return field
    return ", ".join(name for name in {**found, **asked} if found.get(name) != asked.get(name))
