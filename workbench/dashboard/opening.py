"""From a run folder to a library: caches that exist are opened, those that do not are built first."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saes.names import read_names
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.dashboard.cache import FeatureCache, cache_folder
from workbench.dashboard.library import Library
from workbench.dashboard.prompts import concepts_shown, shown_prompts
from workbench.dashboard.sources import sources_of
from workbench.evaluation.runs import Run

if TYPE_CHECKING:
    from workbench.models import Model


def open_library(
    run_dir: Path | str,
    saes: Sequence[str] = (),
    concepts: Sequence[Concept] = (),
    *,
    model: Callable[[], "Model"],
    progress: Progress = SILENT,
) -> Library:
    """The library of a finished run with the SAEs of its edits and those named.

    Args:
        run_dir: Folder of the run.
        saes: Folders or shipped names.
        concepts: Those that are known beside the names in the run.
        model: Gives the run's model; called only if a cache must be built.
        progress: Shows what is built.

    Returns:
        The library.

    Raises:
        WorkbenchError: The run is not finished, an SAE is absent or of another model, or the model is not the run's.
    """
    run = Run.open(run_dir)
    run.records()  # a run without them is not finished, and says so
    sources = sources_of(run, saes)
    known = concepts_shown(run, concepts)
    prompts = shown_prompts(run, known)
    folders = {source: cache_folder(run, source, prompts, known) for source in sources}
    missing = {source: folder for source, folder in folders.items() if not folder.exists()}
    if missing:
        from workbench.dashboard.building import build_caches  # here, since only building needs torch

        build_caches(right_model(run, model()), missing, prompts, known, run.spec.settings, progress=progress)
    caches = {source.name: FeatureCache.open(source, folder) for source, folder in folders.items()}
    names = {source.name: read_names(source.folder) for source in sources}
    return Library(run, caches, known, names)


def right_model(run: Run, model: "Model") -> "Model":
    """The model, which is the run's.

    Args:
        run: The run.
        model: Any.

    Returns:
        The very same.

    Raises:
        WorkbenchError: It is not the one of the run.
    """
    run.check_model(model)
    return model
