"""The edits of a run folder: each is saved once, as `edits/<hash>`, under the hash of its files."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from saes.disk import sha256_of
from saes.leftovers import temporary_name
from workbench.edits import Edit
from workbench.evaluation.spec import EditSpec

EDITS = "edits"


@contextmanager
def saving(run_dir: Path, edits: Sequence[Edit]) -> Iterator[list[EditSpec]]:
    """Saves edits and says what they are called, so that the block can refuse the folder before they are in it.

    Args:
        run_dir: The folder of the run.
        edits: What to save.

    Yields:
        What run.json says of each. The edits are in place after a clean exit; after an exception nothing is left.

    Raises:
        WorkbenchError: Something cannot be written.
    """
    fresh = temporary_name(run_dir / EDITS)
    try:
        specs = [_saved(edit, fresh / str(number)) for number, edit in enumerate(edits)]
        yield specs
        for number, spec in enumerate(specs):
            _put(fresh / str(number), run_dir / EDITS / spec.hash)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def save_edit(run_dir: Path, edit: Edit) -> EditSpec:
    """Saves an edit in a run folder, unless the same is there already.

    Args:
        run_dir: The folder of the run.
        edit: What to save.

    Returns:
        What run.json says of it.

    Raises:
        WorkbenchError: Something cannot be written.
    """
    with saving(run_dir, [edit]) as (spec,):
        return spec


def _saved(edit: Edit, folder: Path) -> EditSpec:
    edit.save(folder)
    hashes = [f"{path.relative_to(folder)} {sha256_of(path)}" for path in sorted(folder.rglob("*")) if path.is_file()]
    return EditSpec(
        hash=hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16], kind=edit.kind, method=edit.method,
        concepts=tuple(edit.concepts), settings=dict(edit.settings), seed=edit.seed,
    )  # fmt: skip


def _put(fresh: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    try:
        fresh.rename(place)
    except OSError:  # it is there, perhaps just now by another process
        if not place.exists():
            raise
