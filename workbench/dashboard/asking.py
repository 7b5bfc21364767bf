"""What the forms of a prompt, a picture and two edits ask for, and the work that answers it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from saes.errors import WorkbenchError, unknown_name
from saes.progress import Progress
from workbench.dashboard.bench import Bench, Beside, Pair
from workbench.dashboard.changes import check_pairs, read_lines, read_numbers
from workbench.dashboard.known_edits import known_edits
from workbench.dashboard.library import Library
from workbench.dashboard.uploads import read_picture

if TYPE_CHECKING:
    from workbench.interpret.firing import OnPicture, OnWords

ON_WORDS, ON_PICTURE = 24, 12  # features that are shown

Work = Callable[[Progress], Any]


@dataclass(frozen=True, eq=False)
class Words:
    """Which features of an SAE fire on a prompt."""

    sae: str
    prompt: str
    found: "OnWords"


@dataclass(frozen=True, eq=False)
class Picture:
    """Which features of an SAE fire on a picture, and the picture as the model was given it."""

    sae: str
    image: UInt8[np.ndarray, "h w 3"]
    found: "OnPicture"


def words_asked(bench: Bench, sae: str | None, prompt: str | None) -> Work:
    """The work of a prompt.

    Args:
        bench: Has the model.
        sae: The SAE's name on the dashboard.
        prompt: What was typed.

    Returns:
        Gives `Words`.

    Raises:
        WorkbenchError: There is no prompt, or none passes the SAE's site.
    """
    text, cache = (prompt or "").strip(), bench.library.cache(sae or "")
    if not text:
        raise WorkbenchError("There is no prompt.", "Type one.")
    if not cache.n_tokens:
        raise WorkbenchError(f"No prompt passes {cache.source.site}.", "Choose an SAE at a text site.")

    def work(progress: Progress) -> Words:
        from workbench.interpret.firing import on_words

        for one in progress([bench], "reading the prompt"):
            found = on_words(one.model, cache.source.folder, text, ON_WORDS)
        return Words(cache.source.name, text, found)

    return work


def picture_asked(
    bench: Bench, sae: str | None, contents: object, timestep: int | float | None, prompt: str | None, seed: str | None
) -> Work:
    """The work of a picture.

    Args:
        bench: Has the model.
        sae: The SAE's name on the dashboard.
        contents: The file, as a browser sends it.
        timestep: To which it is noised.
        prompt: What the model is told of it.
        seed: Of the noise.

    Returns:
        Gives `Picture`.

    Raises:
        WorkbenchError: There is no picture or timestep, not one seed, or no picture passes the SAE's site.
    """
    cache, seeds = bench.library.cache(sae or ""), read_numbers(seed, "seed")
    if not cache.draws:
        raise WorkbenchError(f"No picture passes {cache.source.site}.", "Choose an SAE at a site of pictures.")
    if len(seeds) != 1:
        raise WorkbenchError(f"{len(seeds)} seeds are too many for one picture.", "Give one.")
    if timestep is None or timestep != int(timestep):
        raise WorkbenchError(f"{timestep} is no timestep.", "Give a whole number, 0 (the picture) to 999 (noise).")
    read_picture(contents, 1)  # what is no picture is refused before the model is loaded

    def work(progress: Progress) -> Picture:
        from workbench.interpret.firing import on_picture

        for one in progress([bench], "looking at the picture"):
            image = read_picture(contents, one.model.image_size)
            found = on_picture(
                one.model, cache.source.folder, image, ON_PICTURE,
                timestep=int(timestep), prompt=(prompt or "").strip(), seed=seeds[0],
            )  # fmt: skip
        return Picture(cache.source.name, image, found)

    return work


def edits_asked(bench: Bench, one: str | None, other: str | None, prompts: str | None, seeds: str | None) -> Work:
    """The work of two edits.

    Args:
        bench: Makes the pictures.
        one: The first edit, by a name of `known_edits`.
        other: The second.
        prompts: One a line.
        seeds: Numbers and ranges.

    Returns:
        Gives `Beside`.

    Raises:
        WorkbenchError: An edit is unknown or both are one, there is no prompt or seed, or the pictures are too many.
    """
    known = known_edits(bench.library.run)
    for name in (one, other):
        if name not in known:
            raise unknown_name("edit", name or "", known)
    if one == other:
        raise WorkbenchError(f"{one} stands on both sides.", "Choose two edits.")
    edits = tuple((name, known[name]) for name in (one, other) if name is not None)
    request = Pair(edits, read_lines(prompts), read_numbers(seeds, "seed"))
    check_pairs(request.pairs)

    def work(progress: Progress) -> Beside:
        return bench.beside(request, progress)

    return work


def saes_at(library: Library, *, words: bool) -> list[str]:
    """The SAEs whose sites prompts pass, or pictures.

    Args:
        library: With the caches that are there.
        words: Whether prompts are meant.

    Returns:
        Names on the dashboard.
    """
    return [name for name, cache in library.caches.items() if (cache.n_tokens if words else cache.draws)]
