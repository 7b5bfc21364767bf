"""The feature cache of one autoencoder, as the pages read it: tables in memory, the rest from disk a feature at a time.

    about.json           site, places (tokens of a prompt, then cells of a picture) and timesteps
    features.parquet     a row a feature: density, mean activation, words, the concept that it tells best
    prompts.parquet      a row a prompt: text, seed, tokens
    concepts.parquet     a row a concept and feature, the best of each concept first
    arrays.safetensors   the strongest prompts of each feature and some of its whole range with its activations there,
                         related features, pictures

Nothing here loads torch, so that a dashboard of many thousand features is there at once.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from saes.disk import read_json, sha256_of
from saes.errors import WorkbenchError
from saes.files import CONFIG, WEIGHTS
from workbench.concepts import Concept
from workbench.dashboard.prompts import Shown
from workbench.dashboard.sources import Source
from workbench.evaluation.runs import Run

FORMAT = "erasure-workbench features 3"
FOLDER = "dashboard"  # of the run: everything that a dashboard leaves behind
TABLES = ("features", "prompts", "concepts")
ARRAYS, ABOUT = "arrays.safetensors", "about.json"
FIELDS = ("format", "site", "d_sae", "places", "cells", "steps", "n_top", "n_prompts", "begins")


class Top(NamedTuple):
    """The strongest prompts of a feature: their numbers, scores, and its activations at each place of each."""

    prompts: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    maps: Float[np.ndarray, "n places"]


class Spread(NamedTuple):
    """Prompts from the whole range of a feature's scores, as `Top`, and the quantile of each among all it fires on."""

    prompts: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    maps: Float[np.ndarray, "n places"]
    quantiles: Float[np.ndarray, " n"]


class Related(NamedTuple):
    """Another feature, and how close it is in [0, 1]."""

    feature: int
    value: float


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """What is known of the features of one SAE. Columns as in the module's docstring and `building`."""

    source: Source
    folder: Path
    about: dict[str, Any]
    features: pd.DataFrame
    prompts: pd.DataFrame
    concepts: pd.DataFrame

    @classmethod
    def open(cls, source: Source, folder: Path) -> "FeatureCache":
        """Opens a cache.

        Args:
            source: The SAE that it is of.
            folder: Where it is.

        Returns:
            The cache; arrays stay on the disk.

        Raises:
            WorkbenchError: It is damaged or of another version.
        """
        about = read_json(folder / ABOUT, FIELDS)
        if about["format"] != FORMAT:
            raise _damaged(folder)
        try:
            frames = [_frame(folder / f"{name}.parquet") for name in TABLES]
        except (OSError, ValueError):
            raise _damaged(folder) from None
        return cls(source, folder, about, *frames)

    @property
    def d_sae(self) -> int:
        """The number of features."""
        return len(self.features)

    @property
    def n_tokens(self) -> int:
        """The places of a prompt, which come first; 0 where no prompt passes."""
        return self.about["places"] - self.about["cells"]

    @property
    def draws(self) -> bool:
        """Whether pictures pass the site, so that its features have places in them."""
        return bool(self.about["cells"])

    @property
    def has_steps(self) -> bool:
        """Whether the site is passed at several timesteps."""
        return bool(self.about["steps"])

    def check(self, feature: int) -> None:
        """Refuses a feature that the SAE does not have.

        Args:
            feature: Its number.

        Raises:
            WorkbenchError: It is not among 0 … d_sae − 1.
        """
        if not 0 <= feature < self.d_sae:
            raise WorkbenchError(f"{self.source.name} has no feature {feature}.", f"It has 0 to {self.d_sae - 1}.")

    def top(self, feature: int) -> Top:
        """The prompts on which a feature fires most.

        Args:
            feature: Its number.

        Returns:
            The strongest first; fewer if it fires on fewer.
        """
        prompts, scores, maps = (self._row(name, feature) for name in ("top_prompts", "top_scores", "top_maps"))
        there = prompts >= 0
        return Top(prompts[there], scores[there].astype(float), maps[there].astype(float))

    def spread(self, feature: int) -> Spread:
        """Prompts near the quantiles `ranking.TARGETS` of a feature's scores, drawn at random.

        Args:
            feature: Its number.

        Returns:
            The strongest first; none where `top` shows all on which it fires.
        """
        names = ("prompts", "scores", "maps", "quantiles")
        prompts, scores, maps, quantiles = (self._row(f"spread_{name}", feature) for name in names)
        there = (prompts >= 0) & (self.fires_on(feature) > self.about["n_top"])
        return Spread(prompts[there], *(each[there].astype(float) for each in (scores, maps, quantiles)))

    def fires_on(self, feature: int) -> int:
        """On how many of the prompts a feature fires.

        Args:
            feature: Its number.

        Returns:
            At least 0.
        """
        return int(self.features["fires_on"].iloc[feature])

    def related(self, feature: int, how: str) -> list[Related]:
        """The features most like one.

        Args:
            feature: Its number.
            how: "alike" (decoder cosine) or "together" (fire on the same places).

        Returns:
            The nearest first; none that are not alike at all.
        """
        pairs = zip(self._row(f"{how}_features", feature), self._row(f"{how}_values", feature), strict=True)
        return [Related(int(other), float(value)) for other, value in pairs if value > 0]

    def steps(self, feature: int) -> Float[np.ndarray, " steps"]:
        """A feature's mean activation at each timestep.

        Args:
            feature: Its number.

        Returns:
            In the order of `about["steps"]`; empty where there are none.
        """
        return self._row("by_step", feature).astype(float)

    def picture(self, prompt: int) -> UInt8[np.ndarray, "h w 3"]:
        """The picture of a prompt; only picture sites have some.

        Args:
            prompt: Its number.

        Returns:
            uint8 `[h, w, 3]`, small.
        """
        return self._row("pictures", prompt)

    def concepts_of(self, feature: int) -> pd.DataFrame:
        """The concepts whose prompts a feature fires on.

        Args:
            feature: Its number.

        Returns:
            Rows of `concepts`, the most selective first.
        """
        return self.concepts.iloc[self._rows_of.get(feature, [])].sort_values("auc", ascending=False)

    @cached_property
    def _rows_of(self) -> dict[int, list[int]]:
        rows: dict[int, list[int]] = {}
        for row, feature in enumerate(self.concepts["feature"].tolist()):
            rows.setdefault(feature, []).append(row)
        return rows

    def _row(self, name: str, row: int) -> np.ndarray:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / ARRAYS, framework="numpy") as file:
                return file.get_slice(name)[row]
        except (SafetensorError, OSError):
            raise _damaged(self.folder) from None


def cache_folder(run: Run, source: Source, prompts: Sequence[Shown], concepts: Sequence[Concept]) -> Path:
    """Where the cache of an SAE is or will be: named by the hash of all that decides its content.

    Args:
        run: Has the model and its settings.
        source: The SAE.
        prompts: What its features are shown on.
        concepts: What they are told by.

    Returns:
        A folder in that of the run, there or not.
    """
    content = {
        "format": FORMAT, "weights": sha256_of(source.folder / WEIGHTS), "config": sha256_of(source.folder / CONFIG),
        "model": run.spec.model.identity.hash, "settings": run.spec.settings, "prompts": prompts,
        "concepts": [concept.words() for concept in concepts],
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return run.dir / FOLDER / "cache" / key


def _frame(path: Path) -> pd.DataFrame:
    """A table with its numbers as Python's own floats."""
    frame = pd.read_parquet(path)
    return frame.astype(dict.fromkeys(frame.select_dtypes("float32").columns, "float64"))


def _damaged(folder: Path) -> WorkbenchError:
    return WorkbenchError(
        f"The feature cache {folder} is damaged.", "Remove this folder and start again: it is remade."
    )
