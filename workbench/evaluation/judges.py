"""Judges: who looks at the images, and what counts as a verdict.

A judge scores; the workbench decides. In doubt the edit is charged: the target counts as present even in a broken
picture, any other concept only in an intact one. A broken model must not look like an erased one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from saes.errors import WorkbenchError, unknown_name

VERDICTS = ("target", "anchor", "other", "nothing", "broken")


class Scores(NamedTuple):
    """What a judge says of n images.

    `present[:, c]` in [0, 1] is the score of the judge's c-th concept, `intact` whether the picture is a picture at
    all, `features` an embedding in which near means alike.
    """

    present: Float32[np.ndarray, "n concepts"]
    intact: Bool[np.ndarray, "n"]
    features: Float32[np.ndarray, "n d"]


@runtime_checkable
class Judge(Protocol):
    """A classifier of images. `concepts` maps each concept it knows to its kind ("object", "style", …)."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the scores do: a hash of the weights, a release."""
        ...

    @property
    def threshold(self) -> float:
        """A concept with a score of at least this counts as present."""
        ...

    @property
    def concepts(self) -> Mapping[str, str]: ...

    def score(self, images: UInt8[np.ndarray, "n h w 3"]) -> Scores:
        """Scores a batch; an image's scores do not depend on the others."""
        ...


def shown(scores: Scores, judge: Judge, concept: str, *, intact_only: bool) -> Bool[np.ndarray, "n"]:
    """Whether each image shows the concept; with `intact_only`, a broken picture shows nothing. "" is never shown."""
    if not concept:
        return np.zeros(len(scores.present), dtype=bool)
    names = list(judge.concepts)
    if concept not in names:
        raise unknown_name(f"concept of the judge {judge.name}", concept, names)
    present = np.asarray(scores.present)[:, names.index(concept)] >= judge.threshold
    return present & np.asarray(scores.intact) if intact_only else present


def verdicts(scores: Scores, judge: Judge, target: str, anchor: str = "") -> list[str]:
    """One of `VERDICTS` an image; the first that holds.

    target: the concept is there, even in a broken picture. broken: no picture. anchor: its intended replacement.
    other: another concept of the target's kind. nothing: an intact picture without any concept of that kind.
    """
    kind = judge.concepts.get(target)
    others = [name for name, of in judge.concepts.items() if of == kind and name not in (target, anchor)]
    present = {name: shown(scores, judge, name, intact_only=False) for name in (target, anchor, *others)}
    any_other = np.any([present[name] for name in others] or [np.zeros(len(scores.present), bool)], axis=0)
    conditions = [present[target], ~np.asarray(scores.intact), present[anchor], any_other]
    return np.select(conditions, ["target", "broken", "anchor", "other"], default="nothing").tolist()


def check_knows(judge: Judge, concepts: Sequence[str]) -> None:
    """Raises `WorkbenchError` unless the judge knows all of these concepts ("" needs no knowledge)."""
    for concept in concepts:
        if concept and concept not in judge.concepts:
            raise unknown_name(f"concept of the judge {judge.name}", concept, judge.concepts)


def check_floor(judge: Judge, shown: Bool[np.ndarray, "n"], floor: float) -> None:
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
