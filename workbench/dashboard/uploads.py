"""A picture that a browser sends, as the model takes it."""

import base64
import binascii
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from saes.errors import WorkbenchError

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST = 40_000_000  # pixels; more are not unpacked
REMEDY = "Give a PNG, JPEG or WebP file."


def read_picture(contents: object, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """The middle square of a picture, at the model's size.

    Args:
        contents: A data URI, as a browser sends a file.
        side: Pixels of the model's pictures.

    Returns:
        uint8 `[side, side, 3]`.

    Raises:
        WorkbenchError: There is no picture, it is none of `FORMATS`, damaged, or larger than `LARGEST`.
    """
    if not isinstance(contents, str) or "," not in contents:
        raise WorkbenchError("There is no picture.", "Choose a file.")
    try:
        raw = base64.b64decode(contents.partition(",")[2], validate=True)
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise WorkbenchError(f"The picture has {image.width} × {image.height} pixels.", "Make it smaller.")
            whole = ImageOps.exif_transpose(image).convert("RGB")
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise WorkbenchError("This file is no picture that can be read.", REMEDY) from None
    return np.array(ImageOps.fit(whole, (side, side), Image.Resampling.LANCZOS))
