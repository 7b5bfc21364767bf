"""The detector `code`: QR codes, found by OpenCV.

A code is found by the squares in its corners, so that one that cannot be read, as diffusion models draw them, is found
too: its score is 1 if it can be read and `UNREAD` if not. Readers such as zxing say nothing of those. OpenCV's finder
of bar codes saw 3 of 12 sizes of an EAN-13 and no EAN-8, so bar codes are left to others.
"""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from workbench.detectors.detector import Found, around, found, needed

CONCEPT = "code"
UNREAD = 0.75


class Code:
    """Finds QR codes."""

    name = "code"
    concepts = (CONCEPT,)
    validated = "on codes that segno draws into pictures, whole and damaged, and on pictures without (tests/detectors)"

    def __init__(self) -> None:
        self._package = needed("cv2", "code", "The detector 'code'")
        self._finder: Any = self._package.QRCodeDetector()

    @property
    def version(self) -> str:
        """That of the package."""
        return f"opencv {self._package.__version__}"

    def find(self, images: UInt8[np.ndarray, "images h w 3"]) -> list[Found]:
        """A find for each code."""
        return [self._of(np.ascontiguousarray(image[..., ::-1])) for image in images]  # it takes blue first

    def _of(self, image: UInt8[np.ndarray, "h w 3"]) -> Found:
        codes = self._codes(image)
        boxes = [around(np.asarray(corners, float), *image.shape[:2]) for corners in codes]
        return found(boxes, [self._score(image, corners) for corners in codes], [CONCEPT] * len(codes))

    def _codes(self, image: np.ndarray) -> list[np.ndarray]:
        """Several if they are clear, else the one that alone is found where codes are damaged."""
        several, corners = self._finder.detectMulti(image)
        if not several:
            one, corners = self._finder.detect(image)
            return list(corners) if one else []
        return list(corners)

    def _score(self, image: np.ndarray, corners: np.ndarray) -> float:
        text, _ = self._finder.decode(image, corners[None])
        return 1.0 if text else UNREAD
