"""Thresholds of a zero-shot judge, from the unedited model's own pictures of each concept and of all others.

s are the scores of concept c on pictures whose prompt asks for c (P), and on those whose prompt asks for another and
does not name c (N):
    (1)  t = argmax_t ½ · mean_P[s ≥ t] + ½ · mean_N[s < t]      (Youden 1950: balanced accuracy)
t is the middle of the widest gap between scores that attains it. Prompts say what the pictures show, and a model does
not always draw what it is asked for, which moves (1) little: a share of wrong labels takes the same from every t.
The rates that are told are not those of the pictures that t was chosen on: prompts are split into two halves, and each
half is judged with the threshold of the other. Of the two readings of a pair, the one with the larger mean of (1) over
concepts by these rates is taken.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from pydantic import ValidationError

from probes.agreement import clustered_wilson
from saes.config import StrictConfig
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.conditions import UNEDITED
from workbench.evaluation.judged import judged_by
from workbench.evaluation.judging import judge as look
from workbench.evaluation.records import image_path
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.words import pattern

if TYPE_CHECKING:
    from workbench.evaluation.clip import Clip

FILE = "calibration.json"
FORMAT: Literal["erasure-workbench calibration 1"] = "erasure-workbench calibration 1"
Reading = Literal["odds", "cosine"]
ODDS: Reading = "odds"  # (1) of `evaluation.clip`
COSINE: Reading = "cosine"  # (3)
FEWEST = 8  # pictures of a concept, of at least two prompts, below which no threshold is chosen


class Rate(StrictConfig):
    """A share of n pictures with its 95 % interval, prompts as clusters."""

    value: float
    low: float
    high: float
    n: int


class Known(StrictConfig):
    """A concept as the judge knows it.

    Args:
        kind: Its kind; concepts of one kind are each other's rivals.
        words: Its name and synonyms: a prompt with one of them asks for no other picture than its own.
        prompts: The texts whose embeddings are averaged for it.
        without: Texts of pictures that show none of the kind.
        threshold: The score from which on it counts as present; of log-odds, 0 is as likely as not.
        found: The share of its own pictures in which it is found, None if that was not measured.
        elsewhere: The share of the pictures of other concepts in which it is found.
    """

    kind: str
    words: tuple[str, ...]
    prompts: tuple[str, ...]
    without: tuple[str, ...]
    threshold: float = 0.0
    found: Rate | None = None
    elsewhere: Rate | None = None


class Calibration(StrictConfig):
    """The content of calibration.json.

    Args:
        encoder: The CLIP or SigLIP: a folder or hub id, "" for the folder of the file itself.
        digest: The hash of its files.
        model: What the model that drew the pictures was called.
        fingerprint: Its weights.
        pictures: How many unedited pictures there were.
        content: SHA-256 of their keys, which hold model, prompt, seed and settings, and of what each was to show.
        reading: What the scores are.
        balanced: The mean over concepts of (1) by each reading, on prompts that thresholds were not chosen on.
        concepts: The concepts by name.
    """

    format: Literal["erasure-workbench calibration 1"] = FORMAT
    encoder: str
    digest: str
    model: str
    fingerprint: str
    pictures: int
    content: str
    reading: Reading
    balanced: dict[Reading, float]
    concepts: dict[str, Known]

    @property
    def key(self) -> str:
        """32 bits of the SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def sentence(self) -> str:
        """How good it is, for reports."""
        found = {name: one.found.value for name, one in self.concepts.items() if one.found}
        elsewhere = {name: one.elsewhere.value for name, one in self.concepts.items() if one.elsewhere}
        least, most = min(found, key=lambda name: found[name]), max(elsewhere, key=lambda name: elsewhere[name])
        own, others = np.mean([*found.values()]), np.mean([*elsewhere.values()])
        return (
            f"{self.reading} with thresholds calibrated on {self.pictures} unedited pictures of {self.model} "
            f"(calibration {self.key}); on prompts that its threshold was not chosen on, a concept is found in "
            f"{own:.0%} of its pictures (least: {least}, {found[least]:.0%}) and in {others:.1%} of others' (most: "
            f"{most}, {elsewhere[most]:.1%})"
        )

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Reads a file. Raises `WorkbenchError` if it is of another form."""
        try:
            return cls.model_validate(read_json(path, cls.model_fields))
        except ValidationError as error:
            first = error.errors()[0]
            raise WorkbenchError(
                f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.", "Calibrate again: workbench calibrate."
            ) from None

    def write(self, folder: Path) -> "Calibration":
        """Writes the file into a folder, which it makes, and gives what it holds: an encoder in that very folder is
        called "", another folder by its full path."""
        folder.mkdir(parents=True, exist_ok=True)
        encoder = Path(self.encoder)
        named = str(encoder.resolve()) if encoder.is_dir() else self.encoder
        written = self.model_copy(update={"encoder": "" if named == str(folder.resolve()) else named})
        write_json(folder / FILE, written.model_dump(mode="json"))
        return written


def calibrated(judge: "Clip", run: Run) -> Calibration:
    """Thresholds for a judge, and which reading it takes, from the unedited pictures of a run.

    Args:
        judge: A zero-shot judge that knows the concepts of the run's suites.
        run: A finished run whose rows name what they expect. Rows that only imply it, and edited pictures, are left
            out.

    Returns:
        What to write into a folder that is then a judge: `clip:FOLDER`.

    Raises:
        WorkbenchError: The judge does not know a concept, or there are too few pictures of one or of others.
    """
    records = look(run, judge).records(name := run.name_of(judge))
    roles = run.spec.roles_by_name
    named = records["role"].map(lambda role: roles[role].named) & (records["expected"] != "")
    records = records[(records["condition"] == UNEDITED) & named].drop_duplicates(["image", "expected"])
    images, scores = judged_by(run.dir, name).by_image()
    assert scores.features is not None  # Clip always gives some
    places = {image_path(image): place for place, image in enumerate(images)}
    pictures = scores.features[[places[image] for image in records["image"]]]
    told = {reading: _thresholds(judge, run, records, judge.read(pictures, reading)) for reading in (ODDS, COSINE)}
    balanced = {reading: _balanced(known) for reading, known in told.items()}
    reading = max(balanced, key=lambda reading: balanced[reading])
    others = {} if reading == COSINE else judge.known  # rivals without pictures of their own stay rivals
    content = sorted(records["image"] + " " + records["expected"])
    return Calibration(
        encoder=judge.encoder.name, digest=judge.encoder.digest, model=run.spec.model.name,
        fingerprint=run.spec.model.fingerprint, pictures=len(records),
        content=hashlib.sha256("\n".join(content).encode()).hexdigest(), reading=reading, balanced=balanced,
        concepts={**others, **told[reading]},
    )  # fmt: skip


def _thresholds(
    judge: "Clip", run: Run, records: pd.DataFrame, scores: Float[np.ndarray, "n concepts"]
) -> dict[str, Known]:
    """The concepts that the records ask for, with their thresholds and rates."""
    told, names = {}, list(judge.known)
    for concept in records["expected"].unique():
        own = (records["expected"] == concept).to_numpy(bool)
        named = records["prompt"].str.contains(naming(judge.known[concept].words)).to_numpy(bool)
        for what, of in ((f"of {concept}", own), (f"that show no {concept}", ~own & ~named)):
            _check_enough(records.loc[of, "prompt"], what, run)
        chosen = own | ~named
        told[concept] = _measured(
            judge.known[concept], scores[chosen, names.index(concept)].astype(float), own[chosen],
            records.loc[chosen, "prompt"].factorize()[0],
        )  # fmt: skip
    return told


def _balanced(known: Mapping[str, Known]) -> float:
    """The mean of (1) by the rates."""
    told = [(one.found.value + 1 - one.elsewhere.value) / 2 for one in known.values() if one.found and one.elsewhere]
    return float(np.mean(told))


def threshold(own: Float[np.ndarray, "p"], other: Float[np.ndarray, "n"]) -> float:
    """(1) of the scores of pictures of a concept and of others, at least one of each.

    Args:
        own: Scores of its pictures.
        other: Scores of others'.

    Returns:
        The middle of the widest best gap; half a unit beyond the scores if everything or nothing should pass.
    """
    levels = np.unique(np.concatenate([own, other]))
    edges = np.concatenate([[levels[0] - 1], levels, [levels[-1] + 1]])
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    widths[[0, -1]] = 0.0  # beyond all scores there is no gap
    passed = 1 - np.searchsorted(np.sort(own), middles) / len(own)
    stopped = np.searchsorted(np.sort(other), middles) / len(other)
    accuracy = (passed + stopped) / 2
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)  # (1)
    return float(middles[best[widths[best].argmax()]])


def naming(words: Sequence[str]) -> re.Pattern[str]:
    """What finds any of these words, whole, in a prompt."""
    return re.compile("|".join(map(pattern, words)), re.IGNORECASE)


def calibration_suite(concept: Concept, n: int, first_seed: int) -> Suite:
    """Prompts for n pictures of a concept: its own, one after another, each picture with a seed of its own.

    Args:
        concept: The concept.
        n: How many pictures.
        first_seed: The seed of the first; those of an evaluation should be others.

    Returns:
        A suite of the role "target".
    """
    prompts = cycle(concept.prompts())
    rows = [SuiteRow(next(prompts), "target", concept.name, first_seed + i) for i in range(n)]
    return Suite(f"calibration of {concept.name}", tuple(rows))


def _measured(known: Known, scores: Float[np.ndarray, "n"], own: np.ndarray, prompts: np.ndarray) -> Known:
    """The threshold from all pictures, and the rates from each half of the prompts with the other's threshold."""
    half = _halves(own, prompts)
    passed = np.zeros(len(scores), dtype=bool)
    for side in (False, True):
        here, there = half == side, half != side
        passed[here] = scores[here] >= threshold(scores[there & own], scores[there & ~own])
    rates = [_rate(passed[of], prompts[of]) for of in (own, ~own)]
    found = threshold(scores[own], scores[~own])
    return known.model_copy(update={"threshold": found, "found": rates[0], "elsewhere": rates[1]})


def _halves(own: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Every other prompt of the concept, and every other one of the rest, whole."""
    half = np.zeros(len(prompts), dtype=bool)
    for of in (own, ~own):
        half[of] = np.unique(prompts[of], return_inverse=True)[1] % 2 == 1
    return half


def _rate(hits: np.ndarray, prompts: np.ndarray) -> Rate:
    low, high = clustered_wilson(hits, np.unique(prompts, return_inverse=True)[1])
    return Rate(value=float(hits.mean()), low=low, high=high, n=len(hits))


def _check_enough(prompts: pd.Series, what: str, run: Run) -> None:
    if len(prompts) < FEWEST or prompts.nunique() < 2:
        raise WorkbenchError(
            f"{run.dir} has {len(prompts)} unedited pictures {what}, from {prompts.nunique()} prompts.",
            f"Make at least {FEWEST} from two or more.",
        )
