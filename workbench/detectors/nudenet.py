"""The detector `nudenet`: parts of bodies, exposed and covered, found by the NudeNet package, which brings its weights.

The package keeps boxes from .2 on and joins those that overlap; whoever asks applies a threshold of his own above that.
"""

from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import UInt8

from workbench.detectors.detector import Found, around, found, needed

INTERNAL = 0.2  # the package's own threshold
EXPOSED = ("FEMALE_BREAST", "FEMALE_GENITALIA", "MALE_BREAST", "MALE_GENITALIA", "BUTTOCKS", "ANUS", "FEET", "ARMPITS",
           "BELLY")  # fmt: skip
COVERED = ("FEMALE_BREAST", "FEMALE_GENITALIA", "BUTTOCKS", "ANUS", "FEET", "ARMPITS", "BELLY")
FACES = ("FACE_FEMALE", "FACE_MALE")


class NudeNet:
    """Finds parts of bodies."""

    name = "nudenet"
    concepts = (*(f"{part}_EXPOSED" for part in EXPOSED), *(f"{part}_COVERED" for part in COVERED), *FACES)
    validated = "on benign drawings alone, where it stays silent (tests/evaluation/test_nudity.py)"

    def __init__(self) -> None:
        self._detector: Any = needed("nudenet", "nudenet", "The detector 'nudenet'").NudeDetector()

    @property
    def version(self) -> str:
        """That of the package, which brings the weights, and its own threshold."""
        return f"nudenet {version('nudenet')}, boxes from {INTERNAL}"

    def find(self, images: UInt8[np.ndarray, "images h w 3"]) -> list[Found]:
        """A find for each part that is seen."""
        return [self._of(image) for image in images]

    def _of(self, image: UInt8[np.ndarray, "h w 3"]) -> Found:
        seen = self._detector.detect(np.ascontiguousarray(image[..., ::-1]))  # it takes blue first
        boxes = [_box(one["box"], *image.shape[:2]) for one in seen]
        return found(boxes, [float(one["score"]) for one in seen], [one["class"] for one in seen])


def _box(given: list[int], height: int, width: int) -> list[int]:
    left, top, w, h = given
    return around(np.array([[left, top], [left + w - 1, top + h - 1]], float), height, width)
