"""Pictures: their type, and how they come from numbers."""

import numpy as np
import torch
from jaxtyping import Float, UInt8

from saes.errors import WorkbenchError

Images = UInt8[np.ndarray, "images image_height image_width 3"]


def to_uint8(pixels: Float[np.ndarray, "images image_height image_width 3"], dtype: torch.dtype) -> Images:
    """Values in [0, 1] as grey levels.

    Args:
        pixels: What the autoencoder decoded.
        dtype: What the model computes in, for the remedy.

    Returns:
        uint8 `[images, height, width, 3]`.

    Raises:
        WorkbenchError: Some pixels are NaN, which as grey levels would be black.
    """
    broken = int(np.isnan(pixels).any((1, 2, 3)).sum())
    if broken:
        raise WorkbenchError(
            f"{broken} of {len(pixels)} pictures are not numbers: something overflowed while they were made.",
            "Load the model in float32 (--dtype float32): numbers above 65504 are infinite in float16."
            if dtype == torch.float16
            else "Weaken the edits in place or the guidance, or take one away to see which of them it is.",
        )
    return (pixels * 255).round().astype(np.uint8)
