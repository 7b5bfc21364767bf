"""What attacks are tried on that takes no time: a tiny pipeline with random weights, and judges that are sure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.evaluation.small import Scaled
from workbench.evaluation.judges import Scores
from workbench.evaluation.suites import SuiteRow

ROWS = tuple(SuiteRow(f"a photo of a {name}", "target", name, seed) for seed, name in enumerate(("fox", "cat", "fox")))
EDIT = Scaled(-1.0)


@dataclass(frozen=True)
class Always:
    """A judge that sees every concept everywhere, or nowhere."""

    seen: bool
    name: str = "always"
    version: str = "1"
    validated: str = ""
    concepts = {"fox": "object", "cat": "object", "dog": "object", "owl": "object"}  # noqa: RUF012

    @property
    def thresholds(self) -> dict[str, float]:
        return dict.fromkeys(self.concepts, 0.5)

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        return Scores(
            np.full((len(images), len(self.concepts)), float(self.seen), np.float32), np.ones(len(images), bool)
        )
