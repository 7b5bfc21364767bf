"""From a run folder to a library with the caches that are there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saes.names import read_names
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.dashboard.cache import FeatureCache, cache_folder
from workbench.dashboard.library import Library
from workbench.dashboard.prompts import concepts_shown, shown_prompts
from workbench.dashboard.sources import Source, sources_of
from workbench.evaluation.runs import Run

if TYPE_CHECKING:
    from workbench.models import Model

FIRST, TIMES = 16, 4  # prompts of the first cache of pictures, and how many times as many each further one has


def open_library(
    run_dir: Path | str, saes: Sequence[str] = (), concepts: Sequence[Concept] = (), *, pictures: int | None = None
) -> Library:
    """The library of a finished run with the SAEs of its edits and those named, as far as they were looked at.

    Args:
        run_dir: Folder of the run.
        saes: Folders or shipped names.
        concepts: Those that are known beside the names in the run.
        pictures: How many were to be drawn to look at the sites that pictures pass; None: one for each prompt.

    Returns:
        The library; `filling.Filling` looks at the rest.

    Raises:
        WorkbenchError: The run is not finished, or an SAE is absent or of another model.
    """
    run = Run.open(run_dir)
    run.records()  # a run without them is not finished, and says so
    sources = sources_of(run, saes)
    known = concepts_shown(run, concepts)
    names = {source.name: read_names(source.folder) for source in sources}
    library = Library(run, sources, shown_prompts(run, known), known, names=names)
    for source in sources:
        found = {*stages(len(library.prompts)), *stages(min(pictures or 1, len(library.prompts)))}
        there = [folder for n in sorted(found) if (folder := folder_of(library, source, n)).exists()]
        if there:
            library.put(FeatureCache.open(source, there[-1]))
    return library


def whole_library(
    run_dir: Path | str,
    saes: Sequence[str] = (),
    concepts: Sequence[Concept] = (),
    *,
    model: Callable[[], "Model"],
    pictures: int | None = None,
    progress: Progress = SILENT,
) -> Library:
    """`open_library`, and what was not looked at yet is looked at now.

    Args:
        run_dir: Folder of the run.
        saes: Folders or shipped names.
        concepts: Those that are known beside the names in the run.
        model: Gives the run's model; called only if a cache must be built.
        pictures: How many at most are drawn to look at the sites that pictures pass; None: one for each prompt.
        progress: Shows what is built.

    Returns:
        The library; an SAE without a cache is not in it where no picture was to be drawn.

    Raises:
        WorkbenchError: As for `open_library`, or the model is not the run's.
    """
    library = open_library(run_dir, saes, concepts, pictures=pictures)
    if lacking(library, pictures):
        from workbench.dashboard.filling import Filling  # here, since only looking needs torch

        Filling(library, model, len(library.prompts) if pictures is None else pictures).finish(progress)
    return library


def lacking(library: Library, pictures: int | None = None) -> list[Source]:
    """The SAEs whose features were not looked at on as many prompts as wanted.

    Args:
        library: With the caches that are there.
        pictures: As for `open_library`.

    Returns:
        Some of its sources.
    """
    n = len(library.prompts)
    most = n if pictures is None else min(pictures, n)
    return [
        source
        for source in library.sources
        if (cache := library.caches.get(source.name)) is None or cache.about["n_prompts"] < (most if cache.draws else n)
    ]


def folder_of(library: Library, source: Source, n: int) -> Path:
    """Where the cache of an SAE on the first n prompts is or will be.

    Args:
        library: Has the run and the prompts.
        source: The SAE.
        n: At least 1.

    Returns:
        A folder.
    """
    return cache_folder(library.run, source, library.prompts[:n], library.concepts)


def stages(n: int) -> tuple[int, ...]:
    """After how many pictures there is a cache to look at.

    Args:
        n: How many there are in the end.

    Returns:
        Ascending; the last is `n`.
    """
    found, stage = [], FIRST
    while stage < n:
        found.append(stage)
        stage *= TIMES
    return (*found, n)
