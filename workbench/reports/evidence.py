"""What only the model can show, kept in the run folder so that a report never needs the model again.

evidence/evidence.json          feature cards, prompts, sizes; names the hashes of the files it belongs to
evidence/evidence.safetensors   attention maps, maps of features, images, densities
evidence/<name>.parquet         tables
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from saes.config import StrictConfig
from saes.disk import read_json, read_tensors, replacing, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.settings import build

CONTENT, TENSORS = "evidence.json", "evidence.safetensors"
_ARRAYS = ("before", "after", "map_before", "map_after")


class Strip(StrictConfig):
    """One feature on one prompt: the tokens as a reader sees them and the activation on each."""

    prompt: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]


class Ablation(StrictConfig):
    """What the images lose when one feature alone is taken out: the target's detection rate with and without it.

    `low` and `high` bound the difference `without − with_it` (95 %); n images at equal prompts and seeds.
    """

    with_it: float
    without: float
    low: float
    high: float
    n: int


class FeatureCard(StrictConfig):
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


class PictureText(StrictConfig):
    """One feature of a concept at a site that pictures pass, and on which prompts' pictures it is shown.

    `cells`: its maps have a value for each token of the picture; otherwise they are as smooth as latent pixels.
    """

    concept: str
    site: str
    feature: int
    auc: float
    target_mean: float
    retain_mean: float
    prompts: tuple[str, ...]
    cells: bool
    ablation: Ablation | None


@dataclass(frozen=True, eq=False)
class PictureCard:
    """The pictures that a feature fires on most, and where: its activation, as a mean over the steps where there are
    several."""

    about: PictureText
    images: UInt8[np.ndarray, "n h w 3"]
    maps: Float32[np.ndarray, "n y x"]


class SAEFacts(StrictConfig):
    """The autoencoder that the features come from, measured on held-out activations."""

    site: str
    architecture: str
    d_sae: int
    l0: float
    explained_variance: float
    dead_share: float


class AttentionText(StrictConfig):
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
    """Everything collected from the model for one report. `densities` holds those of all features, by site.

    `tables` are those of `reports.interpreting`, by name; a row says of which concept and condition it is.
    """

    cards: tuple[FeatureCard, ...] = ()
    attention: tuple[AttentionPair, ...] = ()
    saes: tuple[SAEFacts, ...] = ()
    densities: Mapping[str, Float32[np.ndarray, " features"]] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    pictures: tuple[PictureCard, ...] = ()


class _File(StrictConfig):
    format: Literal["erasure-workbench evidence 2"] = "erasure-workbench evidence 2"
    tensors: str  # SHA-256 of the file beside it
    tables: dict[str, str]  # name → SHA-256 of its file
    cards: tuple[FeatureCard, ...]
    attention: tuple[AttentionText, ...]
    saes: tuple[SAEFacts, ...]
    pictures: tuple[PictureText, ...] = ()


def write_evidence(run_dir: Path | str, evidence: Evidence) -> None:
    """Writes the evidence into the run folder, over what was there. The JSON comes last and vouches for the others.

    Args:
        run_dir: Folder of the run.
        evidence: All of it.

    Raises:
        WorkbenchError: The files cannot be written.
    """
    import torch

    arrays = {f"density.{site}": density for site, density in evidence.densities.items()}
    for place, pair in enumerate(evidence.attention):
        arrays |= {f"attention.{place}.{name}": getattr(pair, name) for name in _ARRAYS}
    for place, card in enumerate(evidence.pictures):
        arrays |= {f"pictures.{place}.images": card.images, f"pictures.{place}.maps": card.maps}
    folder = _folder(run_dir)
    write_tensors(
        folder / TENSORS, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    )
    for name, table in evidence.tables.items():
        with replacing(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    content = _File(
        tensors=sha256_of(folder / TENSORS),
        tables={name: sha256_of(folder / f"{name}.parquet") for name in evidence.tables},
        cards=evidence.cards, attention=tuple(pair.about for pair in evidence.attention), saes=evidence.saes,
        pictures=tuple(card.about for card in evidence.pictures),
    )  # fmt: skip
    write_json(folder / CONTENT, content.model_dump(mode="json"))


def read_evidence(run_dir: Path | str) -> Evidence | None:
    """Reads the evidence of a run.

    Args:
        run_dir: Folder of the run.

    Returns:
        The evidence; None if none was collected.

    Raises:
        WorkbenchError: A file has unknown fields, or is not the one that was written with the others.
    """
    folder = _folder(run_dir)
    if not (folder / CONTENT).exists():
        return None
    content = build(_File, read_json(folder / CONTENT), str(folder / CONTENT), "Collect the evidence anew.")
    arrays = {name: tensor.numpy() for name, tensor in read_tensors(folder / TENSORS).items()}
    _check(folder / TENSORS, content.tensors)
    pairs = tuple(
        AttentionPair(about, *(arrays[f"attention.{place}.{name}"] for name in _ARRAYS))
        for place, about in enumerate(content.attention)
    )
    drawn = tuple(
        PictureCard(about, arrays[f"pictures.{place}.images"], arrays[f"pictures.{place}.maps"])
        for place, about in enumerate(content.pictures)
    )
    densities = {name.removeprefix("density."): array for name, array in arrays.items() if name.startswith("density.")}
    tables = {name: _table(folder / f"{name}.parquet", known) for name, known in content.tables.items()}
    return Evidence(content.cards, pairs, content.saes, densities, tables, drawn)


def _folder(run_dir: Path | str) -> Path:
    return Path(run_dir) / "evidence"


def _table(path: Path, known: str) -> pd.DataFrame:
    _check(path, known)
    found = pd.read_parquet(path)
    if "timestep" in found and "part" not in found:  # of a diffusion model, from before a Janus was looked into
        found = found.assign(part=np.where(found["timestep"].isna(), "prompt", "picture"))
    return found


def _check(path: Path, known: str) -> None:
    """Raises `WorkbenchError` unless the file is the one that evidence.json vouches for."""
    if not path.exists() or sha256_of(path) != known:
        raise WorkbenchError(f"{path} is not the file that {CONTENT} names.", "Collect the evidence anew.")
