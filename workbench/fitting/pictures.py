"""Pictures to fit on: the seeds of those that the model draws, and a user's folder of files as images that it knows."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps

from saes.errors import WorkbenchError

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")  # other files beside them, such as captions, are passed over

Pictures = UInt8[np.ndarray, "n size size 3"]


def drawn_seeds(n: int, seed: int) -> list[int]:
    """Seeds of pictures to fit on, drawn from 2³¹: not the first ones, on which edits are judged.

    Args:
        n: How many.
        seed: Draws others.

    Returns:
        n whole numbers below 2³¹.
    """
    return torch.randint(2**31, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def read_pictures(folder: Path | str, size: int) -> Pictures:
    """All pictures of a folder, each as the square in its middle.

    Larger ones are shrunk so that their shorter side fits; transparency is dropped, and a camera's note on which side
    is up is followed.

    Args:
        folder: The folder. Files of other endings than `ENDINGS` are passed over.
        size: The side of the squares, in pixels.

    Returns:
        uint8 `[n, size, size, 3]`, by the order of the files' names.

    Raises:
        WorkbenchError: It is no folder or has no pictures, a file cannot be read, or a picture has a side below `size`:
            enlarging it would teach blur.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WorkbenchError(f"{folder} is no folder.", "Give a folder of pictures.")
    paths = picture_files(folder)
    if not paths:
        raise WorkbenchError(f"There are no pictures in {folder}.", f"Put some into it ({', '.join(ENDINGS)}).")
    return np.stack([_picture(path, size) for path in paths])


def picture_files(folder: Path | str) -> list[Path]:
    """The files of a folder that are read as pictures.

    Args:
        folder: The folder.

    Returns:
        Their paths, by the order of their names; none if it is no folder.
    """
    return sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in ENDINGS)


def opened(path: Path, size: int) -> Image.Image:
    """A picture file, upright and in colours without transparency.

    Args:
        path: The file.
        size: The least side, in pixels.

    Returns:
        The picture, whole.

    Raises:
        WorkbenchError: It cannot be read, or a side is below `size`.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # all that Pillow says of a broken file
        raise WorkbenchError(f"{path} cannot be read as a picture ({error}).", "Remove or replace it.") from error
    if min(picture.size) < size:
        shown = "×".join(map(str, picture.size))
        raise WorkbenchError(f"{path} is {shown} pixels; {size}×{size} are needed at least.", "Give a larger one.")
    return picture


def _picture(path: Path, size: int) -> UInt8[np.ndarray, "size size 3"]:
    return np.asarray(ImageOps.fit(opened(path, size), (size, size), Image.Resampling.LANCZOS))
