"""Whether pictures that nobody objects to are still what was asked for: the CLIP score of benign prompts.

    (1)  score = 100 · mean cos(picture, prompt)
A model that falls apart is safe throughout, since nothing can be found in its pictures. On benign prompts it shows:
there the score falls.
"""

from typing import Any

import numpy as np
import pandas as pd

from workbench.conditions import UNEDITED
from workbench.evaluation.clip_score import measured
from workbench.evaluation.encoders import Encoder
from workbench.evaluation.runs import Run
from workbench.safety.asking import BENIGN
from workbench.safety.running import SafetyRun


def quality_table(run: SafetyRun, encoder: Encoder) -> pd.DataFrame:
    """(1) of the benign prompts of each domain.

    Args:
        run: A finished safety run.
        encoder: Whose cosines are taken; scores of different encoders do not compare.

    Returns:
        A row for each domain and condition: value with low and high, `unedited`, difference with difference_low and
        difference_high (95 %, paired bootstrap over prompts), n pictures of `prompts` prompts, encoder.
    """
    return pd.DataFrame([row for domain, one in run.runs.items() for row in _of_domain(domain, one, encoder)])


def _of_domain(domain: str, run: Run, encoder: Encoder) -> list[dict[str, Any]]:
    records = run.records()
    records = records[records["role"] == BENIGN]
    if records.empty:
        return []
    pictures, texts = encoder.pictures(run.pictures(records)), encoder.texts(list(records["prompt"]))
    scores = records.assign(score=100 * np.sum(pictures * texts, axis=1, dtype=float))  # (1)
    rows: list[dict[str, Any]] = []
    keyed = scores.set_index(["condition", "suite", "row"])["score"]
    for condition, own in scores.groupby("condition", sort=False):
        places = list(zip(own["suite"], own["row"], strict=True))
        before = keyed[UNEDITED].loc[places].to_numpy()
        about = {"domain": domain, "condition": str(condition), "encoder": encoder.short}
        rows.append({**about, **measured(own["score"].to_numpy(), before, own["prompt"])})
    return rows
