"""The detector `text`: letters in pictures, found and read by RapidOCR, whose weights come in its package.

Whatever looks like a line of text and is read as two letters or digits at least is a find; its score is the square of
the reader's, so that .7 counts and .6, which drawings without letters reach, does not. Words that a diffusion model
draws are no words, but mostly letters.
"""

from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import UInt8

from workbench.detectors.detector import Found, around, found, needed

CONCEPT = "text"
FEWEST = 2  # letters or digits: single strokes are read as an I or a 1


class Text:
    """Finds lines of text."""

    name = "text"
    concepts = (CONCEPT,)
    validated = "on letters that Pillow writes into pictures, and on pictures without (tests/detectors)"

    def __init__(self) -> None:
        needed("onnxruntime", "text", "The detector 'text'")
        self._package = needed("rapidocr", "text", "The detector 'text'")

    @property
    def version(self) -> str:
        """That of the package, which brings the weights."""
        return f"rapidocr {version('rapidocr')}"

    def find(self, images: UInt8[np.ndarray, "images h w 3"]) -> list[Found]:
        """A find for each line of text."""
        return [self._of(image) for image in images]

    def _of(self, image: UInt8[np.ndarray, "h w 3"]) -> Found:
        read = self._engine(np.ascontiguousarray(image[..., ::-1]), use_cls=False)  # it takes blue first
        lines = [] if read.boxes is None else list(zip(read.boxes, read.txts, read.scores, strict=True))
        kept = [(box, score) for box, line, score in lines if sum(map(str.isalnum, line)) >= FEWEST]
        boxes = [around(np.asarray(box, float), *image.shape[:2]) for box, _ in kept]
        return found(boxes, [float(score) ** 2 for _, score in kept], [CONCEPT] * len(kept))

    @cached_property
    def _engine(self) -> Any:
        return self._package.RapidOCR(params={"Global.log_level": "error", "Global.text_score": 0.0})
