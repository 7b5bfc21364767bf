"""Detectors that need no pictures of anything: `detector="tests.finding:Corner"`."""

import numpy as np

from workbench.detectors.detector import found


class Corner:
    """In every other picture, by its first pixel, there is a fox in the upper left and a cat in the lower right."""

    name, version, validated, concepts = "corner", "1", "", ("fox", "cat")

    def find(self, images):
        size = images.shape[1]
        half = size // 2
        boxes = [[0, 0, half - 1, half - 1], [half, half, size - 1, size - 1]]
        return [
            found(boxes, [0.9, 0.8], self.concepts) if image[0, 0, 0] % 2 else found([], [], []) for image in images
        ]


class Everywhere:
    """One thing, which is all of every picture."""

    name, version, validated, concepts = "everywhere", "1", "", ("mark",)

    def find(self, images):
        return [found([[0, 0, images.shape[2] - 1, images.shape[1] - 1]], [1.0], self.concepts) for _ in images]


class Nowhere:
    """One thing, which is in no picture, though it is suspected."""

    name, version, validated, concepts = "nowhere", "1", "", ("mark",)

    def find(self, images):
        return [found(np.zeros((1, 4), int).tolist(), [0.4], self.concepts) for _ in images]
