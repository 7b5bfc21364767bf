"""The CLIP score of a run: how near pictures are to their own prompts, in the space of a CLIP or SigLIP.

    (1)  score = 100 · mean cos(picture, prompt)
Published numbers differ in scale (cos, 100 cos, 2.5 max(cos, 0)) and in backbone, and compare within one backbone
alone; the table names both. A SigLIP's cosines are smaller than a CLIP's: its sigmoid stretches and shifts them.
"""

import numpy as np
import pandas as pd

from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError
from workbench.evaluation.clip import Clip
from workbench.evaluation.judged import judged_by
from workbench.evaluation.judges import Judge
from workbench.evaluation.judging import judge as look
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run

PER_CENT = 100.0


def clip_score(run: Run, judge: Judge) -> pd.DataFrame:
    """(1) of each suite and condition, apart for prompts that want their concept absent and present.

    Args:
        run: A finished run. The judge looks at it first if it has not yet; no picture is decoded twice.
        judge: A `Clip`, whose encoder is taken.

    Returns:
        A row for each suite, concept, condition and `wanted`: value with low and high, `unedited`, difference with
        difference_low and difference_high (95 %, paired bootstrap over prompts), n images of `prompts` prompts, and
        `scale`, which names the encoder and the unit.

    Raises:
        WorkbenchError: The judge is no `Clip`.
    """
    if not isinstance(judge, Clip):
        raise WorkbenchError(f"The judge {judge.name} is no CLIP.", "Name one: clip, clip:FOLDER or clip:HUB/ID.")
    results = Results.of(run, look(run, judge).name_of(judge))
    found = per_picture(run, judge)
    rows = []
    for trial in results.spec.trials:
        for condition in trial.conditions:
            pair = results.pair(trial, condition)
            wanted = pair.after["role"].map(lambda role: results.roles[role].wanted)
            for side in wanted.unique():
                after, before = (part[(wanted == side).to_numpy()] for part in pair)
                about = {"suite": trial.suite, "concept": trial.concept, "condition": condition, "wanted": side}
                rows.append({**about, **measured(_of(found, after), _of(found, before), after["prompt"])})
    return pd.DataFrame(rows).assign(scale=scale(judge))


def per_picture(run: Run, judge: Clip) -> dict[str, float]:
    """(1) of each picture by itself.

    Args:
        run: A finished run. The judge looks at it first if it has not yet.
        judge: Whose encoder is taken.

    Returns:
        Picture, as records name it → 100 cos to its own prompt.
    """
    name = look(run, judge).name_of(judge)
    images, scores = judged_by(run.dir, name).by_image()
    assert scores.features is not None  # Clip always gives some
    pictures = dict(zip(images, scores.features, strict=True))
    rows = Results.of(run, name).records.drop_duplicates("image")
    texts = list(dict.fromkeys(rows["prompt"]))
    read = dict(zip(texts, judge.encoder.texts(texts), strict=True))
    own = [pictures[image.rpartition("/")[2].removesuffix(".png")] for image in rows["image"]]
    cosines = PER_CENT * np.sum(np.stack(own) * np.stack([read[text] for text in rows["prompt"]]), axis=1, dtype=float)
    return dict(zip(rows["image"], cosines.tolist(), strict=True))


def _of(found: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    return rows["image"].map(found).to_numpy(float)


def scale(judge: Clip) -> str:
    """The encoder and the unit of its scores, in words."""
    encoder = judge.encoder
    reads = f"; its sigmoid reads {encoder.scale:.1f} cos {encoder.bias:+.1f}" if encoder.family == "siglip" else ""
    return f"100 cos, {encoder.short}{reads}"


def measured(after: np.ndarray, before: np.ndarray, prompts: pd.Series) -> dict[str, float | int]:
    """A mean score, the unedited model's, and their difference.

    Args:
        after: Scores of pictures with an edit.
        before: Those of the same prompts and seeds without it.
        prompts: Of each picture.

    Returns:
        value with low and high, `unedited`, difference with its interval (95 %, paired bootstrap over prompts), n
        images of `prompts` prompts.
    """
    clusters, names = pd.factorize(prompts)
    draws, draws_then = (bootstrap_means(of, clusters) for of in (after, before))
    (low, high), change = middle_95(draws), middle_95(draws - draws_then)
    value, unedited = float(after.mean()), float(before.mean())
    return {
        "value": value, "low": low, "high": high, "unedited": unedited, "difference": value - unedited,
        "difference_low": change.low, "difference_high": change.high, "n": len(after), "prompts": len(names),
    }  # fmt: skip
