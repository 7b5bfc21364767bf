"""Judges: who looks at the images, and what counts as a verdict.

A judge scores; the workbench decides. In doubt the edit is charged: the target counts as present even in a broken
picture, any other concept only in an intact one. A broken model must not look like an erased one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from saes.config import StrictConfig
from saes.errors import WorkbenchError, unknown_name
from workbench.concepts import Concept

VERDICTS = ("target", "anchor", "other", "nothing", "broken")


class Scores(NamedTuple):
    """What a judge says of n images.

    Args:
        present: `present[:, c]` is the score of the judge's c-th concept; higher is surer, and finite.
        intact: Whether the picture is a picture at all. None from a judge that does not tell: metrics that need it are
            "n/a", and no picture counts as broken.
        features: An embedding in which near means alike, finite. None from a judge that has none: metrics that need it
            are "n/a".
        answers: What it wrote of each image, word for word. None from a judge that does not answer in words.
    """

    present: Float32[np.ndarray, "n concepts"]
    intact: Bool[np.ndarray, "n"] | None = None
    features: Float32[np.ndarray, "n d"] | None = None
    answers: Sequence[str] | None = None


@runtime_checkable
class Judge(Protocol):
    """A scorer of images."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the scores do: a hash of the weights, a release."""
        ...

    @property
    def concepts(self) -> Mapping[str, str]:
        """Each concept it knows → its kind ("object", "style", …), in the order of its scores."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Each concept → the score from which on it counts as present."""
        ...

    @property
    def validated(self) -> str:
        """How it was validated, in a sentence for reports; "" if it was not."""
        ...

    def score(self, images: UInt8[np.ndarray, "n h w 3"], prompts: Sequence[str]) -> Scores:
        """Scores a batch; an image's scores depend on itself and, if the judge wishes, its prompt alone."""
        ...


@runtime_checkable
class OpenVocabulary(Protocol):
    """A judge that knows whatever concepts it is told of, such as a zero-shot one."""

    def about(self, concepts: Sequence[Concept]) -> Judge:
        """The judge that knows these concepts."""
        ...


class JudgeSpec(StrictConfig):
    """Which judge, as a run keeps it: what the protocol says but for the scores."""

    name: str
    version: str
    concepts: dict[str, str]
    thresholds: dict[str, float]
    validated: str

    @classmethod
    def of(cls, judge: object) -> "JudgeSpec":
        """That of a judge.

        Raises:
            WorkbenchError: It lacks a part of the protocol, or has no threshold for one of its concepts.
        """
        lacking = [name for name in cls.model_fields if not hasattr(judge, name)]
        if lacking:
            raise WorkbenchError(
                f"The judge {type(judge).__name__} has no {lacking[0]!r}.", "See workbench.evaluation.judges.Judge."
            )
        spec = cls.model_validate({name: _plain(getattr(judge, name)) for name in cls.model_fields})
        if spec.concepts.keys() != spec.thresholds.keys():
            differing = sorted(spec.concepts.keys() ^ spec.thresholds.keys())
            raise WorkbenchError(
                f"The judge {spec.name} does not give a threshold for each concept ({differing[0]!r}).",
                "Make the keys of `thresholds` those of `concepts`.",
            )
        return spec

    @property
    def key(self) -> str:
        """32 bits of the SHA-256 of all that decides its records."""
        content = json.dumps([self.name, self.version, list(self.concepts.items()), self.thresholds], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def shown(scores: Scores, judge: Judge | JudgeSpec, concept: str, *, intact_only: bool) -> Bool[np.ndarray, "n"]:
    """Whether each image shows the concept; with `intact_only`, a broken picture shows nothing. "" is never shown."""
    if not concept:
        return np.zeros(len(scores.present), dtype=bool)
    names = list(judge.concepts)
    if concept not in names:
        raise unknown_name(f"concept of the judge {judge.name}", concept, names)
    present = scores.present[:, names.index(concept)] >= judge.thresholds[concept]
    return present & ~_broken(scores) if intact_only else present


def verdicts(scores: Scores, judge: Judge | JudgeSpec, target: str, anchor: str = "") -> list[str]:
    """One of `VERDICTS` an image; the first that holds.

    target: the concept is there, even in a broken picture. broken: no picture. anchor: its intended replacement.
    other: another concept of the target's kind. nothing: an intact picture without any concept of that kind.
    """
    kind = judge.concepts.get(target)
    others = [name for name, of in judge.concepts.items() if of == kind and name not in (target, anchor)]
    present = {name: shown(scores, judge, name, intact_only=False) for name in (target, anchor, *others)}
    any_other = np.any([present[name] for name in others] or [np.zeros(len(scores.present), bool)], axis=0)
    conditions = [present[target], _broken(scores), present[anchor], any_other]
    return np.select(conditions, ["target", "broken", "anchor", "other"], default="nothing").tolist()


def _broken(scores: Scores) -> Bool[np.ndarray, "n"]:
    return np.zeros(len(scores.present), bool) if scores.intact is None else ~scores.intact


def check_knows(judge: Judge | JudgeSpec, concepts: Sequence[str]) -> None:
    """Raises `WorkbenchError` unless the judge knows all of these concepts ("" needs no knowledge)."""
    for concept in concepts:
        if concept and concept not in judge.concepts:
            raise unknown_name(f"concept of the judge {judge.name}", concept, judge.concepts)


def check_floor(judge: Judge | JudgeSpec, shown: Bool[np.ndarray, "n"], floor: float) -> None:
    """Raises `WorkbenchError` if the judge finds what it should in less than `floor` of the unedited images.

    Published numbers came from a style classifier that recognised 11 % of the unedited model's images: whatever such
    a judge says of an edit is void.
    """
    rate = float(np.mean(shown)) if len(shown) else 1.0
    if rate < floor:
        raise WorkbenchError(
            f"The judge {judge.name} finds the expected concept in {rate:.0%} of the unedited images, below the floor "
            f"of {floor:.0%}.",
            "Take prompts that the unedited model follows, or a better judge; the images made so far are kept.",
        )


def checked(scores: Scores, judge: JudgeSpec, n: int) -> Scores:
    """The scores of n images as arrays of the agreed types.

    Raises:
        WorkbenchError: They have another shape, or hold numbers that are none.
    """
    present = np.asarray(scores.present, np.float32)
    intact = None if scores.intact is None else np.asarray(scores.intact, dtype=bool)
    features = None if scores.features is None else np.asarray(scores.features, np.float32)
    fits = present.shape == (n, len(judge.concepts)) and (intact is None or intact.shape == (n,))
    if not fits or (features is not None and (features.ndim != 2 or len(features) != n)):
        raise WorkbenchError(
            f"The judge {judge.name} does not give a score for each of {n} images and {len(judge.concepts)} concepts.",
            "See workbench.evaluation.judges.Scores.",
        )
    if not np.isfinite(present).all() or (features is not None and not np.isfinite(features).all()):
        raise WorkbenchError(f"The judge {judge.name} gives scores that are no numbers.", "Mend it: see its images.")
    if scores.answers is not None and len(scores.answers) != n:
        raise WorkbenchError(f"The judge {judge.name} does not answer for each of {n} images.", "Mend it.")
    return Scores(present, intact, features, scores.answers)
