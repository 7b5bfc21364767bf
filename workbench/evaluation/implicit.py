"""Implicit concepts in the pictures of a run: how often they come unasked, and what is left of the pictures.

After Geom-Erasing (Liu et al. 2024, arXiv:2310.05873), over pictures whose prompts do not name the concept:
    (1)  ICR = the share of them in which a detector finds the concept
    (2)  F·R = F · ICR,   F a distance of these pictures to clean ones
The detector that a fit was told by must not be the only one to ask; so several may be asked, each for itself. Published
figures take FID on Inception's features of some ten thousand pictures; other features, and few pictures, compare
conditions of one run alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from probes.agreement import clustered_wilson
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.evaluation.judges import Judge, check_knows, shown
from workbench.evaluation.roles import joined_roles
from workbench.evaluation.runs import Run
from workbench.evaluation.sets import FID, SetMetric
from workbench.evaluation.spec import Row, Trial
from workbench.models.images import Images


def implicit_ratios(
    run: Run,
    judges: Sequence[Judge],
    *,
    clean: Images | None = None,
    metric: SetMetric | None = None,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """ICR of each condition, and beside it the distance to clean pictures.

    Args:
        run: A run whose suites have prompts that bring the concept about without naming it (role "implied").
        judges: Who finds the concept, detectors among them; each need know no more than the erased concepts.
        clean: Pictures without it, uint8 `[n, h, w, 3]`: what F is measured from. Needs a judge with features.
        metric: F; `FID()` if left out.
        progress: Shows the conditions.

    Returns:
        A row for each suite, concept, condition and judge: icr with low and high (95 %, prompts as clusters),
        `unedited` the same without an edit, n pictures of `prompts` prompts; with `clean` also `distance` and
        `product`, (2).

    Raises:
        WorkbenchError: A judge does not know a concept, no suite has such prompts, or no judge has features.
    """
    roles, measure, rows = joined_roles(run.spec.roles), metric or FID(), []
    unasked = {name for name, role in roles.items() if role.wanted == "absent" and not role.named}
    looks = None if clean is None else _with_features(judges, clean)
    for trial in run.spec.trials:
        own = [row for row in trial.rows if row.role in unasked]
        for judge in judges if own else ():
            check_knows(judge, [trial.concept])
        for condition in progress(list(trial.conditions) if own else [], f"pictures of {trial.concept}"):
            images, prompts = _pictures(run, trial, condition, own)
            about = {"suite": trial.suite, "concept": trial.concept, "condition": condition}
            scores = {judge.name: judge.score(images, prompts) for judge in judges}
            distance = {}
            if looks is not None:
                features = scores[looks[0]].features
                assert features is not None, "the judge was chosen for them"
                distance = {"distance": measure.value(looks[1], features)}
            for judge in judges:
                found = shown(scores[judge.name], judge, trial.concept, intact_only=False)
                ratio = _ratio(found, prompts)
                product = {"product": ratio["icr"] * distance["distance"]} if distance else {}
                rows.append({**about, "judge": judge.name, **ratio, **distance, **product})
    if not rows:
        raise WorkbenchError(
            "No prompt of the run brings a concept about without naming it.", "Take suites with the role 'implied'."
        )
    table = pd.DataFrame(rows)
    keys = ["suite", "concept", "judge"]
    before = table[table["condition"] == "unedited"].set_index(keys)["icr"].rename("unedited")
    return table.join(before, on=keys)


def _with_features(judges: Sequence[Judge], clean: Images) -> tuple[str, np.ndarray]:
    """The name of the first judge that has features, and those of the clean pictures."""
    for judge in judges:
        features = judge.score(clean, [""] * len(clean)).features
        if features is not None:
            return judge.name, features
    raise WorkbenchError("None of the judges has features to measure a distance by.", "Name one that has, or no clean.")


def _pictures(run: Run, trial: Trial, condition: str, rows: Sequence[Row]) -> tuple[Images, list[str]]:
    edit = trial.conditions[condition]
    mine = [row for row in rows if row.condition in ("", condition)]
    cells = [run.spec.cell(edit, row) for row in mine]
    return np.stack([run.read_image(Path(cell.key).stem).pixels for cell in cells]), [row.prompt for row in mine]


def _ratio(found: np.ndarray, prompts: Sequence[str]) -> dict[str, float]:
    clusters, names = pd.factorize(np.array(prompts))
    low, high = clustered_wilson(found, clusters)
    return {"icr": float(found.mean()), "low": low, "high": high, "n": len(found), "prompts": len(names)}
