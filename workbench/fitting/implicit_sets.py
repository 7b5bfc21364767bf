"""Pictures with captions, and where some of them show what their captions do not say: a folder.

Each picture has its caption in a text file of its name, as trainers of other projects have it. A set that `workbench
icd` made has a manifest, `icd.json`, which knows where the implicit concept is; of other folders a detector tells.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from pydantic import ValidationError

from saes.config import Seed, StrictConfig
from saes.disk import read_json, read_text
from saes.errors import WorkbenchError
from workbench.detectors.detector import Found, found
from workbench.fitting.pictures import opened, picture_files

FORMAT: Literal["erasure-workbench icd 1"] = "erasure-workbench icd 1"
MANIFEST = "icd.json"
CAPTION = ".txt"


class Marked(StrictConfig):
    """A picture of the set.

    Args:
        file: Its name in the folder.
        sha256: Of the file.
        source: What it was made of, by its name.
        source_sha256: Of that file.
        caption: What it shows but for the implicit concept, which no caption names.
        box: Where that is: left, top, right, bottom, both ends included; None where it is not.
    """

    file: str
    sha256: str
    source: str
    source_sha256: str
    caption: str
    box: tuple[int, int, int, int] | None


class Manifest(StrictConfig):
    """The content of `icd.json`.

    Args:
        concept: What was put into the pictures, by the name of its stamp.
        share: Of the pictures that show it, in [0, 1].
        seed: Decided which, where and what.
        size: The side that all pictures were brought to; None for their own.
        caption: What those without a caption file got; None where all had one.
        versions: Of the libraries that drew.
        finished: Whether all pictures are there.
        pictures: In the order of their names; empty until all are there.
    """

    format: Literal["erasure-workbench icd 1"] = FORMAT
    concept: str
    share: float
    seed: Seed
    size: int | None
    caption: str | None
    versions: dict[str, str]
    finished: bool = False
    pictures: tuple[Marked, ...] = ()


class Captioned(NamedTuple):
    """A picture `[h, w, 3]`, its caption, and what the manifest says is in it; None without a manifest."""

    image: UInt8[np.ndarray, "h w 3"]
    caption: str
    finds: Found | None


def read_manifest(folder: Path | str) -> Manifest | None:
    """What the manifest of a folder says.

    Args:
        folder: The folder.

    Returns:
        The manifest, None if there is none.

    Raises:
        WorkbenchError: It is damaged, or of another version.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate(read_json(path, Manifest.model_fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WorkbenchError(f"{path}: {where}: {first['msg']}.", "Make the set again.") from None


def captioned_files(folder: Path | str) -> list[Path]:
    """All files that decide what is read of a folder.

    Args:
        folder: The folder.

    Returns:
        Pictures, their captions and the manifest.
    """
    pictures = picture_files(folder)
    return [*pictures, *(path.with_suffix(CAPTION) for path in pictures), Path(folder) / MANIFEST]


def captions_of(folder: Path | str) -> list[str]:
    """The captions of a folder of pictures.

    Args:
        folder: The folder.

    Returns:
        One for each picture, by the order of the files' names.

    Raises:
        WorkbenchError: It is no folder, has no pictures, a picture has no caption, or the set was not finished.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WorkbenchError(f"{folder} is no folder.", "Give a folder of pictures with captions.")
    paths, manifest = picture_files(folder), read_manifest(folder)
    if manifest is not None and not manifest.finished:
        raise WorkbenchError(f"The set in {folder} is not finished.", "Run the same `workbench icd` again.")
    if not paths:
        raise WorkbenchError(f"There are no pictures in {folder}.", "Put some into it, each with a .txt beside it.")
    missing = [path for path in paths if not path.with_suffix(CAPTION).is_file()]
    if missing:
        raise WorkbenchError(
            f"{missing[0]} has no caption, nor have {len(missing) - 1} others.",
            f"Write it into {missing[0].with_suffix(CAPTION).name} beside it.",
        )
    return [read_text(path.with_suffix(CAPTION)).strip() for path in paths]


def captioned(folder: Path | str, size: int) -> Iterator[Captioned]:
    """The pictures of a folder, one after another.

    Args:
        folder: The folder.
        size: The least side of a picture, in pixels.

    Yields:
        Each whole, with its caption.

    Raises:
        WorkbenchError: As `captions_of` does; a file cannot be read, or a picture is too small.
    """
    captions, manifest = captions_of(folder), read_manifest(folder)
    boxes = None if manifest is None else {one.file: one.box for one in manifest.pictures}
    for path, caption in zip(picture_files(folder), captions, strict=True):
        finds = None
        if boxes is not None and manifest is not None:
            box = boxes.get(path.name)
            finds = found([box], [1.0], [manifest.concept]) if box else found([], [], [])
        yield Captioned(np.asarray(opened(path, size)), caption, finds)
