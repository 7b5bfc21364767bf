"""The smallest edit, judge and suite that are real: for evaluations on a tiny pipeline with random weights."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.edits import WeightEdit
from workbench.edits.edit import Summary
from workbench.evaluation.judges import Scores
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.hooks import Session, SiteEdit
from workbench.models import Model


@dataclass(frozen=True)
class Scaled:
    """An edit that multiplies the output of the first text layer: by 1 it does nothing, by −1 it changes everything."""

    factor: float
    kind: str = "activation"
    method: str = "scaled"
    concepts: tuple[str, ...] = ("fox",)
    base_fingerprint: str = ""
    seed: int = 0

    @property
    def settings(self) -> dict[str, float]:
        return {"factor": self.factor}

    def check(self, model: Model) -> None:
        model.site("text.0")

    def leaves(self) -> "list[Scaled]":
        return [self]

    def no_op(self) -> "Scaled":
        return Scaled(1.0)

    def random(self, seed: int = 0) -> "Scaled":
        return Scaled(2 - self.factor, method="random scale", seed=seed)  # as far from 1, on the other side

    def rows(self, model: object = None) -> list[dict[str, float]]:
        return [{"factor": self.factor}]

    def summary(self) -> Summary:
        return Summary("a factor", "random scale")

    def in_weights(self) -> "list[WeightEdit]":
        return []

    def decides(self) -> bool:
        return False

    def installed_by(self, model: Model, gates: object) -> Session:
        return self.installed(model)

    def installed(self, model: Model) -> Session:
        return model.session(edits=[SiteEdit(model.site("text.0"), lambda x, clock: x * self.factor)])

    def save(self, path: Path) -> None:
        path.mkdir(parents=True)
        (path / "edit.json").write_text(json.dumps(self.settings))


@dataclass(frozen=True)
class Brightness:
    """A judge that calls an image a fox, a cat and a dog as soon as its mean brightness reaches the threshold."""

    threshold: float = 0.0
    name: str = "brightness"
    version: str = "1"
    validated: str = ""
    concepts = {"fox": "object", "cat": "object", "dog": "object", "owl": "object"}  # noqa: RUF012

    @property
    def thresholds(self) -> dict[str, float]:
        return dict.fromkeys(self.concepts, self.threshold)

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        features = images.astype(np.float32).mean(axis=(1, 2)) / 255
        return Scores(
            np.repeat(features.mean(axis=1, keepdims=True), len(self.concepts), axis=1),
            np.ones(len(images), bool),
            features,
        )


def suite(target: str = "fox", neighbour: str = "cat", name: str = "") -> Suite:
    named = [("target", target), ("neighbour", neighbour), ("unrelated", "dog")]
    rows = [SuiteRow(f"a photo of a {what}", role, what, seed) for role, what in named for seed in (1, 2)]
    return Suite(name or target, tuple(rows))
