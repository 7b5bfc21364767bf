"""A judge that looks whether a picture is bright."""

from typing import ClassVar

import numpy as np

from workbench.evaluation.judges import Scores


class Eye:
    """Bright pictures show a fox, dark ones a cat. It knows no broken picture and has no features."""

    name = "lantern_eye"
    version = "1"
    validated = ""
    concepts: ClassVar[dict[str, str]] = {"fox": "object", "cat": "object", "dog": "object", "bear": "object"}
    thresholds: ClassVar[dict[str, float]] = dict.fromkeys(concepts, 0.0)

    @classmethod
    def load(cls, argument: str) -> "Eye":
        return cls()

    def score(self, images: np.ndarray, prompts: list[str]) -> Scores:
        bright = images.mean(axis=(1, 2, 3)) / 255
        return Scores(np.stack([bright, 1 - bright, bright, bright], axis=1).astype(np.float32))
