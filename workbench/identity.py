"""What a model is right now: everything that decides a pixel or an activation, as one hash for each part."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Identity:
    """One hash for each part of a model.

    Args:
        fingerprint: The networks' weights, adapters and vocabularies: what an edit or an autoencoder was fitted on.
        parts: What else decides a result, by name: "scheduler", "image size", "unet" (its configuration, structure and
            dtype), "edits" (those in place), …
    """

    fingerprint: str
    parts: Mapping[str, str]

    @property
    def hash(self) -> str:
        """SHA-256 over all of it, in hexadecimal."""
        return hashed({"weights": self.fingerprint, **self.parts})

    @property
    def origin(self) -> str:
        """What activations come from: the weights, and the edits in place where there are some."""
        return hashed([self.fingerprint, self.parts["edits"]]) if "edits" in self.parts else self.fingerprint

    def differences(self, other: "Identity") -> list[str]:
        """The parts in which two models differ, by name; empty for equal models."""
        names = [name for name in {**self.parts, **other.parts} if self.parts.get(name) != other.parts.get(name)]
        return ["weights"] * (self.fingerprint != other.fingerprint) + names


def hashed(value: Any) -> str:
    """SHA-256 of a value that JSON can say, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
