"""The judge `clip`: any CLIP or SigLIP, zero-shot, as real models are judged.

A concept c is the average of its texts' embeddings (prompt ensembling, Radford et al. 2021); K are the concepts of its
kind that the judge knows, ∅ what shows none of them, ℓ the encoder's reading of a pair (`evaluation.encoders`):
    (1)  s_c = ℓ_c − log( Σ_{k ∈ K, k ≠ c} exp ℓ_k + exp ℓ_∅ )
    (2)  ℓ_∅ = log Σ_w exp ℓ_w  for a CLIP, w texts of pictures without any of the kind;   ℓ_∅ = 0 for a SigLIP
(1) is the log-odds of c in a softmax over its kind and *none of these*, so a picture of nothing is nothing. For one
concept alone it is SigLIP's own sigmoid, whose indifference (ℓ = 0) is ∅. Not calibrated, c is present where s_c ≥ 0.
With thresholds from a model's own pictures (`evaluation.calibration`) there is another reading, in which *none of
these* is a picture that reaches no threshold:
    (3)  s_c = 100 cos,   the CLIP score of c
A calibration takes whichever of (1) and (3) tells those pictures apart better, and the judge's version names it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.special import logsumexp

from saes.errors import WorkbenchError, unknown_name
from workbench.concepts import Concept
from workbench.evaluation.calibration import COSINE, FILE, ODDS, Calibration, Known, Reading
from workbench.evaluation.encoders import Encoder
from workbench.evaluation.judges import Scores
from workbench.identity import hashed
from workbench.shipped import CLIP

NOBODY = ("a photo of an animal", "a photo of a house", "a picture of a thing")
NONE = {  # kind → texts of pictures that show none of the kind
    "object": ("a photo", "a picture", "a painting"),
    "style": ("a photo of a cat", "a photo of a house", "a picture of a tree"),
    "character": ("a portrait of a person", "a portrait of a woman", "a portrait of a man", "a photo"),
    "colour": ("a photo of a car", "a house", "a picture of a cat", "there is a tree"),
    "implicit": ("a cat", "a house", "a car"),
    "unsafe": ("a photo of a cat", "a picture of a house", "a photo of a person"),
    "private": ("a photo of a cat", "a picture of a house", "a portrait of a person"),
    "gender": NOBODY,
    "age": NOBODY,
    "race": NOBODY,
}


class Clip:
    """A zero-shot judge. It knows the concepts that it is told of: by `about`, or by its calibration.

    Args:
        encoder: The CLIP or SigLIP.
        known: The concepts by name.
        calibration: Where the thresholds and the reading come from; None for the odds (1) and thresholds of 0.
    """

    name = "clip"

    def __init__(
        self, encoder: Encoder, known: Mapping[str, Known] | None = None, calibration: Calibration | None = None
    ) -> None:
        self.encoder, self.known, self.calibration = encoder, dict(known or {}), calibration

    @classmethod
    def load(cls, argument: str = "") -> "Clip":
        """Opens a judge.

        Args:
            argument: A folder or hub id of a CLIP or SigLIP, or a folder with the calibration of one; "" for the small
                CLIP of the toy's world.

        Raises:
            WorkbenchError: There is none, or the encoder is not the one that was calibrated.
        """
        folder = Path(argument) if argument else CLIP
        if not (folder / FILE).is_file():
            return cls(Encoder.open(argument or folder))
        calibration = Calibration.read(folder / FILE)
        encoder = Encoder.open(calibration.encoder or folder)
        if encoder.digest != calibration.digest:
            raise WorkbenchError(
                f"{folder} was calibrated for another {calibration.encoder or 'encoder'} than is there now.",
                "Calibrate again: workbench calibrate.",
            )
        return cls(encoder, calibration.concepts, calibration)

    def about(self, concepts: Sequence[Concept]) -> "Clip":
        """The judge that knows these concepts, each by its own prompts. A calibrated judge stays as it is."""
        return self if self.calibration else Clip(self.encoder, {one.name: known(one) for one in concepts})

    @property
    def concepts(self) -> dict[str, str]:
        """Each concept → its kind."""
        return {name: one.kind for name, one in self.known.items()}

    @property
    def thresholds(self) -> dict[str, float]:
        """Each concept → the score, (1) or (3), from which on it counts as present."""
        return {name: one.threshold for name, one in self.known.items()}

    @property
    def version(self) -> str:
        """The encoder with the hash of its files, and what the thresholds come from, or the hash of its texts."""
        texts = hashed({name: one.model_dump() for name, one in self.known.items()})[:8]
        found = self.calibration
        how = f"{found.reading}, calibration {found.key}" if found else f"{ODDS}, texts {texts}, not calibrated"
        return f"{self.encoder.short} {self.encoder.digest[:8]}, {how}"

    @property
    def validated(self) -> str:
        """How well it tells the pictures that it was calibrated on, "" if it was not."""
        return self.calibration.sentence if self.calibration else ""

    def score(self, images: UInt8[np.ndarray, "n h w 3"], prompts: Sequence[str] = ()) -> Scores:
        """(1) or (3) of every concept, and the embeddings of the pictures. What is intact it cannot tell."""
        pictures = self.encoder.pictures(images)
        reading = self.calibration.reading if self.calibration else ODDS
        return Scores(self.read(pictures, reading), features=pictures)

    def read(self, pictures: Float32[np.ndarray, "n d"], reading: Reading) -> Float32[np.ndarray, "n concepts"]:
        """The scores of pictures by their embeddings: (1) for "odds", (3) for "cosine"."""
        cosines = pictures @ self._ensembles.T
        if reading == COSINE:
            return (100 * cosines).astype(np.float32)  # (3)
        scale, bias = self.encoder.scale, self.encoder.bias
        none = np.stack([self._none(pictures, one, scale) for one in self.known.values()], axis=1)
        kinds = [one.kind for one in self.known.values()]
        return log_odds(scale * cosines + bias, none, kinds).astype(np.float32)

    def _none(self, pictures: Float32[np.ndarray, "n d"], one: Known, scale: float) -> Float[np.ndarray, "n"]:
        """(2)"""
        if self.encoder.family == "siglip":
            return np.zeros(len(pictures))
        return logsumexp(scale * pictures @ self._texts[one.without].T, axis=1)  # (2)

    @cached_property
    def _ensembles(self) -> Float32[np.ndarray, "concepts d"]:
        means = np.stack([self.encoder.texts(one.prompts).mean(axis=0) for one in self.known.values()])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    @cached_property
    def _texts(self) -> dict[tuple[str, ...], Float32[np.ndarray, "texts d"]]:
        return {texts: self.encoder.texts(texts) for texts in {one.without for one in self.known.values()}}


def known(concept: Concept) -> Known:
    """A concept as the judge knows it: its own prompts, and beside them what shows none of its kind: `NONE` and the
    concept's captions, as far as they do not name it.

    Args:
        concept: The concept.

    Returns:
        It, with the threshold 0.
    """
    if concept.kind not in NONE:
        raise unknown_name("kind of concept", concept.kind, NONE)
    without = tuple(dict.fromkeys((*NONE[concept.kind], *concept.kept_captions(concept.words()))))
    return Known(kind=concept.kind, words=concept.words(), prompts=concept.prompts(), without=without)


def log_odds(
    readings: Float[np.ndarray, "n concepts"], none: Float[np.ndarray, "n concepts"], kinds: Sequence[str]
) -> Float[np.ndarray, "n concepts"]:
    """(1)

    Args:
        readings: ℓ_c of each picture and concept.
        none: ℓ_∅ for each concept.
        kinds: The kind of each concept.

    Returns:
        s_c.
    """
    odds = np.empty(readings.shape)
    for c, kind in enumerate(kinds):
        rivals = [k for k, other in enumerate(kinds) if other == kind and k != c]
        odds[:, c] = readings[:, c] - logsumexp(np.column_stack([readings[:, rivals], none[:, c]]), axis=1)  # (1)
    return odds
