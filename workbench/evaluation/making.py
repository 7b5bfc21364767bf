"""Makes the images of a run that are missing, so that the same run gives the same bits however often it was killed.

The cells of an edit are cut into batches by their place in the whole plan. A batch of which anything is missing is
made whole, and what is there already is left as it is: numbers round differently in batches of other sizes. Several
processes share the batches out.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np

from saes.progress import Progress
from workbench.claims import claimed, share
from workbench.edits import Edit
from workbench.evaluation.inputs import pictures, prompts_of
from workbench.evaluation.runs import Run, StoredImage
from workbench.evaluation.spec import Cell
from workbench.models import Model

Watcher = Callable[[Sequence[Cell], Sequence[StoredImage]], None]


def make_missing(
    model: Model,
    run: Run,
    edit: Edit | None,
    cells: Sequence[Cell],
    batch_size: int,
    watcher: Watcher,
    progress: Progress,
) -> None:
    """Makes and stores the missing ones of an edit's images.

    Args:
        model: The run's model, without the edit.
        run: Where they are stored.
        edit: The edit, None for the unedited model.
        cells: All cells of this edit in the run, in their order.
        batch_size: Images made at once.
        watcher: Is given what was just made, while the pixels are in memory.
        progress: Shows the batches.
    """
    plan = [cells[start : start + batch_size] for start in range(0, len(cells), batch_size)]
    unfinished = {batch[0].key: batch for batch in plan if run.missing(batch)}
    label = "unedited images" if edit is None else f"images with {edit.method}"

    def make(first: str) -> None:
        with claimed(run.dir, "images", first):
            batch = unfinished[first]
            if missing := {one.key for one in run.missing(batch)}:  # another process may have made them
                made = [pair for pair in _made(model, run, batch) if pair[0].key in missing]
                watcher([one for one, _ in made], [run.write_image(one, *image) for one, image in made])

    if unfinished:
        with model.edited(edit) if edit is not None else nullcontext():
            share(list(unfinished), make, progress, label)


def _made(model: Model, run: Run, batch: Sequence[Cell]) -> list[tuple[Cell, tuple[np.ndarray, float]]]:
    """Each cell with its pixels, and its share of the seconds that the batch took."""
    began = time.perf_counter()
    images: dict[Cell, np.ndarray] = {}
    for own in dict.fromkeys(one.sampling for one in batch):
        alike = [one for one in batch if one.sampling == own]
        prompts, seeds = prompts_of(run.dir, alike), [one.seed for one in alike]
        made = pictures(model, prompts, seeds, batch_size=len(alike), **{**run.spec.settings, **dict(own)})
        images |= zip(alike, made, strict=True)
    seconds = (time.perf_counter() - began) / len(batch)
    return [(one, (images[one], seconds)) for one in batch]
