"""Judges that are detectors: a concept is present where something of it is found. They tell neither what is intact nor
how alike pictures are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from saes.errors import WorkbenchError
from workbench.detectors import find_detector
from workbench.detectors.detector import THRESHOLD, Detector
from workbench.evaluation.judges import Scores

KIND = "implicit"


class Detected:
    """A judge for `workbench.evaluate`.

    Args:
        detector: Who looks.
        called: The name under which suites know what a detector of one concept finds; its own if left out.
    """

    def __init__(self, detector: Detector, called: str = "") -> None:
        if called and len(detector.concepts) > 1:
            raise WorkbenchError(
                f"The detector {detector.name} finds {', '.join(detector.concepts)}, not one thing called {called!r}.",
                "Leave the name out.",
            )
        self.detector, self.called = detector, called

    @property
    def name(self) -> str:
        """The detector's, and the name of what it finds where that is another."""
        return f"{self.detector.name} as {self.called}" if self.called else self.detector.name

    @property
    def version(self) -> str:
        """The detector's."""
        return self.detector.version

    @property
    def validated(self) -> str:
        """How the detector was."""
        return self.detector.validated

    @property
    def concepts(self) -> dict[str, str]:
        """What it finds."""
        return dict.fromkeys((self.called,) if self.called else self.detector.concepts, KIND)

    @property
    def thresholds(self) -> dict[str, float]:
        """The one from which on a find counts."""
        return dict.fromkeys(self.concepts, THRESHOLD)

    def score(self, images: UInt8[np.ndarray, "n h w 3"], prompts: Sequence[str] = ()) -> Scores:
        """The score of the surest find of each concept, 0 without any. The prompts do not matter."""
        present = np.zeros((len(images), len(self.detector.concepts)), np.float32)
        for row, finds in zip(present, self.detector.find(images), strict=True):
            for concept, score in zip(finds.concepts, finds.scores, strict=True):
                place = self.detector.concepts.index(concept)
                row[place] = max(row[place], score)
        return Scores(present)


@dataclass(frozen=True)
class By:
    """Opens the judge that is a detector; what follows the colon of a judge's name is what its finds are called."""

    detector: str

    def load(self, called: str = "") -> Detected:
        """The judge: `text`, or `text:watermark` for a suite about letters that it calls a watermark.

        Args:
            called: The name of what is found; the detector's own if left out.

        Returns:
            The judge.

        Raises:
            WorkbenchError: A package is missing, or the detector finds several things.
        """
        return Detected(find_detector(self.detector), called)


TEXT, CODE, MARKS = By("text"), By("code"), By("toy")
