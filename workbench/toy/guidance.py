"""How much guidance matters: what pictures show at each scale, with the concept in the prompt, and in the negative
prompt as well."""

from collections.abc import Sequence

import pandas as pd

from probes.statistics import wilson
from saes.progress import SILENT, Progress
from workbench.models import Model
from workbench.toy.oracle import KINDS, Oracle
from workbench.toy.report import Asked, questions

SCALES = (1.0, 2.0, 3.0, 5.0, 7.5)
KIND_OF = {
    "plain": "object",
    "styled": "style",
    "character": "character",
}  # group of questions → what it is counted for


def guidance_curve(
    model: Model, oracle: Oracle, scales: Sequence[float] = SCALES, n: int = 50, seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:  # fmt: skip
    """What a model shows of what held-out prompts ask for, against the scale of guidance.

    Args:
        model: One of the toys.
        oracle: Its judge.
        scales: Of guidance; at 1 or less nothing guides, and a negative prompt has nothing to act on.
        n: Prompts of each kind of concept.
        seed: Draws the prompts.
        progress: Shows the scales.

    Returns:
        A row for each kind ("object", "style", "character"), scale, and `negative` (whether the concept's name is the
        negative prompt): `value`, the share of pictures that show the concept, `low` and `high` (95 %, Wilson), `n`,
        and `intact`, the share that is intact.
    """
    asked = {kind: _first(n, group, seed) for group, kind in KIND_OF.items()}
    cells = [(scale, False) for scale in scales] + [(scale, True) for scale in scales if scale > 1]
    rows = []
    for scale, negative in progress(cells, "guidance"):
        for kind, questions_of_kind in asked.items():
            hits, intact = _shown(model, oracle, questions_of_kind, scale, negative)
            low, high = wilson(sum(hits), len(hits))
            rows.append({
                "kind": kind, "guidance_scale": scale, "negative": negative, "value": sum(hits) / len(hits),
                "low": low, "high": high, "n": len(hits), "intact": intact,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _first(n: int, group: str, seed: int) -> list[Asked]:
    return [one for one in questions(n, seed) if one.group == group][:n]


def concept_of(asked: Asked) -> str:
    """The concept that a question is counted for: the style or character where there is one, else the object."""
    scene = asked.scene
    return scene.artist or scene.character or scene.objects[0].thing


def _shown(
    model: Model, oracle: Oracle, asked: Sequence[Asked], scale: float, negative: bool
) -> tuple[list[bool], float]:
    """Whether each picture shows its concept, and the share of intact ones."""
    hits, intact = [True] * len(asked), 0.0
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(asked):
        groups.setdefault(concept_of(one) if negative else "", []).append(place)
    for concept, places in groups.items():
        images = model.generate(
            [asked[place].prompt for place in places], places, guidance_scale=scale, negative_prompt=concept
        )
        judged = oracle.judge(images)
        intact += float((judged.intact >= oracle.threshold).sum())
        for place, row in zip(places, judged.present, strict=True):
            hits[place] = bool(row[list(KINDS).index(concept_of(asked[place]))] >= oracle.threshold)
    return hits, intact / len(asked)
