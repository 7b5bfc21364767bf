"""What only the model can show, kept in the run folder so that a report never needs the model again.

evidence/evidence.json          feature cards, prompts, sizes; names the hash of the tensors it belongs to
evidence/evidence.safetensors   attention maps, images, densities
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, ConfigDict, ValidationError

from saes.disk import read_json, read_tensors, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError

_ARRAYS = ("before", "after", "map_before", "map_after")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Strip(_Strict):
    """One feature on one prompt: the tokens as a reader sees them and the activation on each."""

    prompt: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]


class Ablation(_Strict):
    """What the images lose when one feature alone is taken out: the target's detection rate with and without it.

    `low` and `high` bound the difference `without − with_it` (95 %); n images at equal prompts and seeds.
    """

    with_it: float
    without: float
    low: float
    high: float
    n: int


class FeatureCard(_Strict):
    """One feature of a concept: how selective it is, where it fires, and what it does.

    `density` is the share of tokens on which it fires; `words` the words it fires on most, with the mean activation;
    `strips` the prompts on which it fires most.
    """

    concept: str
    site: str
    feature: int
    density: float
    auc: float
    target_mean: float
    retain_mean: float
    words: tuple[tuple[str, float], ...]
    strips: tuple[Strip, ...]
    ablation: Ablation | None


class SAEFacts(_Strict):
    """The autoencoder that the features come from, measured on held-out activations."""

    site: str
    architecture: str
    d_sae: int
    l0: float
    explained_variance: float
    dead_share: float


class AttentionText(_Strict):
    """Which prompt, word and seed a pair of attention maps is about, and under which condition."""

    concept: str
    condition: str
    prompt: str
    word: str
    seed: int


@dataclass(frozen=True, eq=False)
class AttentionPair:
    """Where the picture attends to a word before and after an edit, at equal prompt and seed.

    The maps are shares of attention in [0, 1], averaged over heads, sites and steps.
    """

    about: AttentionText
    before: UInt8[np.ndarray, "h w 3"]
    after: UInt8[np.ndarray, "h w 3"]
    map_before: Float32[np.ndarray, "y x"]
    map_after: Float32[np.ndarray, "y x"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything collected from the model for one report. `densities` holds those of all features, by site."""

    cards: tuple[FeatureCard, ...] = ()
    attention: tuple[AttentionPair, ...] = ()
    saes: tuple[SAEFacts, ...] = ()
    densities: Mapping[str, Float32[np.ndarray, " features"]] = field(default_factory=dict)


class _File(_Strict):
    format: Literal["erasure-workbench evidence 1"] = "erasure-workbench evidence 1"
    tensors: str  # SHA-256 of the file beside it
    cards: tuple[FeatureCard, ...]
    attention: tuple[AttentionText, ...]
    saes: tuple[SAEFacts, ...]


def write_evidence(run_dir: Path | str, evidence: Evidence) -> None:
    """Writes the evidence into the run folder, over what was there. The JSON comes last and vouches for the tensors."""
    import torch

    arrays = {f"density.{site}": density for site, density in evidence.densities.items()}
    for place, pair in enumerate(evidence.attention):
        arrays |= {f"attention.{place}.{name}": getattr(pair, name) for name in _ARRAYS}
    tensors_path, json_path = _paths(run_dir)
    write_tensors(tensors_path, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})
    about = tuple(pair.about for pair in evidence.attention)
    content = _File(tensors=sha256_of(tensors_path), cards=evidence.cards, attention=about, saes=evidence.saes)
    write_json(json_path, content.model_dump(mode="json"))


def read_evidence(run_dir: Path | str) -> Evidence | None:
    """Reads the evidence of a run; None if none was collected. Unknown fields and torn files are errors."""
    tensors_path, json_path = _paths(run_dir)
    if not json_path.exists():
        return None
    try:
        content = _File.model_validate(read_json(json_path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WorkbenchError(f"{json_path}: {where}: {first['msg']}.", "Collect the evidence anew.") from None
    arrays = {name: tensor.numpy() for name, tensor in read_tensors(tensors_path).items()}
    if sha256_of(tensors_path) != content.tensors:
        raise WorkbenchError(
            f"{tensors_path} is not the file that {json_path.name} names.", "Collect the evidence anew."
        )
    pairs = tuple(
        AttentionPair(about, *(arrays[f"attention.{place}.{name}"] for name in _ARRAYS))
        for place, about in enumerate(content.attention)
    )
    densities = {name.removeprefix("density."): array for name, array in arrays.items() if name.startswith("density.")}
    return Evidence(content.cards, pairs, content.saes, densities)


def _paths(run_dir: Path | str) -> tuple[Path, Path]:
    folder = Path(run_dir) / "evidence"
    return folder / "evidence.safetensors", folder / "evidence.json"
