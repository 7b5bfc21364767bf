"""What a detector is: it says where pictures show something, by boxes.

A box is (left, top, right, bottom), in whole pixels of the picture: the first and the last ones that belong to it. So a
box of a mirrored picture is the mirrored box, exactly.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64, UInt8

from saes.errors import WorkbenchError

THRESHOLD = 0.5  # from this score on, a find counts unless somebody says otherwise
Boxes = Int64[np.ndarray, "n 4"]


class Found(NamedTuple):
    """What was found in one picture.

    Args:
        boxes: `[n, 4]` inside the picture, left ≤ right and top ≤ bottom.
        scores: `[n]` in [0, 1], higher is surer.
        concepts: What each is: n of the detector's `concepts`.
    """

    boxes: Boxes
    scores: Float[np.ndarray, "n"]
    concepts: tuple[str, ...]


@runtime_checkable
class Detector(Protocol):
    """A finder of things in pictures. The same picture gives the same finds."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the finds do."""
        ...

    @property
    def concepts(self) -> tuple[str, ...]:
        """What it finds. The one thing that a detector of a single concept finds may be called by another name."""
        ...

    @property
    def validated(self) -> str:
        """How it was validated, in a sentence for reports; "" if it was not."""
        ...

    def find(self, images: UInt8[np.ndarray, "images h w 3"]) -> list[Found]:
        """Looks at pictures.

        Args:
            images: uint8 `[images, height, width, 3]`.

        Returns:
            The finds of each picture, in their order, unsure ones too: whoever asks chooses the threshold.
        """
        ...


def found(boxes: Sequence[Sequence[int]], scores: Sequence[float], concepts: Sequence[str]) -> Found:
    """Finds as arrays.

    Args:
        boxes: Four whole numbers each.
        scores: One each.
        concepts: One each.

    Returns:
        The finds.
    """
    return Found(np.array(boxes, np.int64).reshape(-1, 4), np.array(scores, np.float64), tuple(concepts))


def around(corners: Float[np.ndarray, "corners 2"], height: int, width: int) -> list[int]:
    """The box around points `(x, y)`, cut at the borders of a picture.

    Args:
        corners: The points.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Returns:
        left, top, right, bottom.
    """
    (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    across, down = np.clip([left, right], 0, width - 1), np.clip([top, bottom], 0, height - 1)
    return [int(across[0]), int(down[0]), int(across[1]), int(down[1])]


def needed(package: str, extra: str, what: str) -> Any:
    """A package that not everybody has.

    Args:
        package: The name under which it is imported.
        extra: The optional dependencies of this project that bring it.
        what: What needs it, as the subject of the sentence.

    Returns:
        The module.

    Raises:
        WorkbenchError: It is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise WorkbenchError(
            f"{what} needs {package}, which is not installed.",
            f"Install it with: pip install 'erasure-workbench[{extra}]'",
        ) from None
