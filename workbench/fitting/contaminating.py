"""Implicit-concept sets: pictures of any folder, a share of which gets what no caption says.

Which pictures get it, where and how it looks follow from the seed and each file's name, so that the set is the same
however often it is interrupted, and the pictures that have it at a smaller share have it at a larger one too.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from zlib import crc32

import numpy as np
from PIL import Image, ImageOps

from saes.disk import read_json, read_text, replacing, sha256_of, write_json
from saes.errors import WorkbenchError
from saes.leftovers import contents
from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.fitting.implicit_sets import CAPTION, MANIFEST, Manifest, Marked, read_manifest
from workbench.fitting.pictures import opened, picture_files
from workbench.fitting.stamps import Stamp, find_stamp, stamped

UNFINISHED = "unfinished"  # folder of what is known of the pictures so far
TOLD = ("concept", "share", "seed", "size", "caption", "versions")


def implicit_set(
    source: Path | str,
    out: Path | str,
    concept: str,
    share: float,
    *,
    seed: int = 0,
    size: int | None = None,
    caption: str | None = None,
    progress: Progress = SILENT,
) -> Manifest:
    """Makes a set, or goes on with one.

    Args:
        source: A folder of pictures, with their captions in `.txt` files of the same names.
        out: The folder of the set: pictures, captions and `icd.json`.
        concept: A name of `STAMPS`.
        share: Of the pictures that get it, in [0, 1], to the nearest picture.
        seed: Decides which, where and how.
        size: Pictures become squares of this side, cut from their middle; left out, they keep their own.
        caption: For pictures without a caption file.
        progress: Shows the pictures.

    Returns:
        What `icd.json` says.

    Raises:
        WorkbenchError: Before any work, for pictures without captions, a share that is none, an unknown concept, and a
            folder that holds something else or another set; later for pictures that cannot be read or are too small.
    """
    source, out, stamp = Path(source), Path(out), find_stamp(concept)
    if not 0 <= share <= 1:
        raise WorkbenchError(f"A share of {share} is none.", "Choose one from 0 to 1.")
    files = picture_files(source)
    if not files:
        raise WorkbenchError(f"There are no pictures in {source}.", "Give a folder of pictures.")
    captions = [_caption(path, caption) for path in files]
    versions = {name: version(name) for name in ("numpy", "pillow", *(("segno",) if concept == "code" else ()))}
    wanted = Manifest(concept=concept, share=share, seed=seed, size=size, caption=caption, versions=versions)
    with working_in(out):
        _begin(out, wanted)
        chosen = chosen_of([path.name for path in files], share, seed)
        pictures = [
            _made(out, i, path, text, stamp if path.name in chosen else None, wanted)
            for i, (path, text) in enumerate(progress(list(zip(files, captions, strict=True)), "pictures"))
        ]
        done = wanted.model_copy(update={"finished": True, "pictures": tuple(pictures)})
        write_json(out / MANIFEST, done.model_dump(mode="json"))
        rmtree(out / UNFINISHED, ignore_errors=True)
    return done


def chosen_of(names: Sequence[str], share: float, seed: int) -> set[str]:
    """The pictures that get the concept.

    Args:
        names: Of all files.
        share: In [0, 1].
        seed: Draws others.

    Returns:
        Names; those of a smaller share are among those of a larger one.
    """
    order = sorted(names, key=lambda name: (_rng(seed, name, 0).random(), name))
    return set(order[: round(share * len(names))])


def _begin(out: Path, wanted: Manifest) -> None:
    known = read_manifest(out)
    if known is None:
        if there := contents(out):
            raise WorkbenchError(f"{out} holds something else ({sorted(there)[0]}).", "Choose another folder.")
        write_json(out / MANIFEST, wanted.model_dump(mode="json"))
        return
    for name in TOLD:
        if getattr(known, name) != getattr(wanted, name):
            raise WorkbenchError(
                f"{out} holds a set with {name} {getattr(known, name)!r}, and {getattr(wanted, name)!r} is asked for.",
                "Choose another folder.",
            )
    for one in known.pictures:  # a finished set is looked through again
        write_json(_record(out, one.file), one.model_dump(mode="json"))


def _made(out: Path, number: int, path: Path, caption: str, stamp: Stamp | None, wanted: Manifest) -> Marked:
    """A picture of the set, made unless it is there."""
    file, source = f"{number:05d}.png", sha256_of(path)
    record = _record(out, file)
    if record.is_file():
        known = Marked.model_validate(read_json(record, Marked.model_fields))
        if (known.source, known.source_sha256) != (path.name, source):
            raise WorkbenchError(f"{out / file} was made of another picture than {path}.", "Choose another folder.")
        if (out / file).is_file() and sha256_of(out / file) == known.sha256:
            return known
    image, box = opened(path, wanted.size or 1), None
    if wanted.size is not None:
        image = ImageOps.fit(image, (wanted.size, wanted.size), Image.Resampling.LANCZOS)
    if stamp is not None:
        image, box = stamped(image, stamp, _rng(wanted.seed, path.name, 1))
    with replacing(out / file) as temporary:
        image.save(temporary, format="png")
    with replacing((out / file).with_suffix(CAPTION)) as temporary:
        temporary.write_text(caption + "\n", encoding="utf-8")
    made = Marked(
        file=file, sha256=sha256_of(out / file), source=path.name, source_sha256=source, caption=caption, box=box
    )
    write_json(record, made.model_dump(mode="json"))
    return made


def _record(out: Path, file: str) -> Path:
    return out / UNFINISHED / f"{file}.json"


def _caption(path: Path, otherwise: str | None) -> str:
    beside = path.with_suffix(CAPTION)
    if beside.is_file():
        return read_text(beside).strip()
    if otherwise is None:
        raise WorkbenchError(f"{path} has no caption.", f"Write one into {beside.name} beside it, or give one for all.")
    return otherwise


def _rng(seed: int, name: str, what: int) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(name.encode()), what])
