"""Pictures of the concept for attacks that start from some: the unedited model's own, or a user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from workbench.attacks.attack import own_seed
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.pictures import picture_files, read_pictures
from workbench.knobs import Opens
from workbench.models import Janus, Model
from workbench.models.images import Images


def files_of(folder: str) -> list[Path]:
    """All pictures in a folder and in those directly below it."""
    below = sorted(path for path in Path(folder).glob("*") if path.is_dir()) if folder else []
    return [file for place in ([Path(folder), *below] if folder else []) for file in picture_files(place)]


Folder = Annotated[
    str, Opens(files_of),
    Doc("Of pictures of the concept, or with a folder named after each concept; left out, the unedited model draws "
        "them, by each row's own prompt and seed."),
]  # fmt: skip


def place_of(folder: str, concept: str) -> Path:
    """The folder with the pictures of a concept. Raises `WorkbenchError` if there are none."""
    place = Path(folder, concept) if Path(folder, concept).is_dir() else Path(folder)
    if not picture_files(place):
        raise WorkbenchError(
            f"There is no picture of {concept} in {folder}.", f"Put some into {Path(folder, concept)}."
        )
    return place


def check_pictures(folder: str, rows: Sequence[SuiteRow]) -> None:
    """Raises `WorkbenchError` if a folder is named and has no picture of what a row expects."""
    for concept in dict.fromkeys(row.expected for row in rows) if folder else ():
        place_of(folder, concept)


def pictures_for(model: Model, rows: Sequence[SuiteRow], folder: str, seed: int, **sampling: Any) -> Images:
    """A picture of what each row expects; a row's own, whatever rows are beside it.

    Args:
        model: The model, without the edit.
        rows: The rows.
        folder: As in `Folder`.
        seed: Of the attack; chooses among a folder's pictures.
        **sampling: As `model.generate` takes it.

    Returns:
        uint8 `[rows, height, width, 3]` of the model's own size.

    Raises:
        WorkbenchError: The folder has no picture of a concept, or one that cannot be read.
    """
    if not folder:
        return model.generate([row.prompt for row in rows], [row.seed for row in rows], **sampling)
    places = {row.expected: place_of(folder, row.expected) for row in rows}
    known = {concept: read_pictures(place, model.image_size) for concept, place in places.items()}
    return np.stack([known[row.expected][own_seed(row, seed, "picture") % len(known[row.expected])] for row in rows])


def represented(model: Any, images: Images) -> Tensor:
    """Images as a model has them, a row each: latents of a diffusion model, tokens of a Janus."""
    return model.codes(images) if isinstance(model, Janus) else model.latents(images)


def own_pictures(model: Any, prompts: Any, seeds: Sequence[int], **sampling: Any) -> Tensor:
    """A model's own pictures as it has them: of a Janus the very tokens that it writes; arguments as of `generate`."""
    if isinstance(model, Janus):
        return model.sample_codes(prompts, seeds, **sampling)
    return model.latents(model.generate(prompts, seeds, **sampling))


def targets(model: Model, rows: Sequence[SuiteRow], folder: str, seed: int, **sampling: Any) -> Tensor:
    """What `pictures_for` gives, as the model has it: x₀, or c; arguments as there."""
    if folder:
        return represented(model, pictures_for(model, rows, folder, seed, **sampling))
    return own_pictures(model, [row.prompt for row in rows], [row.seed for row in rows], **sampling)
