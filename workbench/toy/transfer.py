"""Whether an adapter that was fitted on the toy erases in its relatives too: models of the same form and other weights.

A descendant was trained on from the toy's weights, a sibling from others. Nothing is fitted on either; their own text
encoders open the adapters. Each relative is compared with itself unedited, and with adapters of random directions and
equal norm: what those erase, any disturbance of that size would.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import pandas as pd

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.edits import AdapterEdit, transferred
from workbench.erasure.spm import SPM
from workbench.evaluation.evaluate import evaluate_concepts
from workbench.evaluation.judges import Judge
from workbench.evaluation.roles import ROLES
from workbench.evaluation.suites import Suite
from workbench.evaluation.tables import metrics
from workbench.models import Diffusion
from workbench.toy import concepts as known_concepts
from workbench.toy import path as pipeline
from workbench.toy.suites import suite

METHOD = SPM(  # for a model of this size, as searched in studies/comparisons/spm-parts.yaml
    prompts="templates", sampler="frozen", trajectories=16, steps=16, iterations=100, batch=4, anchors=1, lr=0.01,
    warmup=10,
)  # fmt: skip
CONCEPTS = ("fox", "oskar lind")
EDITS, SPM_, RANDOM = "edits", "SPM", "random directions"
SHOWN = {
    "efficacy": "efficacy", "generality": "generality", "neighbour_specificity": "near",
    "unrelated_specificity": "far", "intact": "intact",
}  # fmt: skip
COLUMNS = ["gate", "value", "low", "high", "unedited", "n", "mark"]


def shipped_relatives() -> list[Path]:
    """The pipelines that are shipped beside the toy's own.

    Returns:
        Their folders, by name.
    """
    return sorted(
        folder.parent for folder in pipeline().parent.glob("*/model_index.json") if folder.parent != pipeline()
    )


def measure_transfer(
    model: Diffusion,
    relatives: Sequence[Diffusion],
    method: SPM,
    concepts: Sequence[str],
    judge: Judge,
    out_dir: Path | str,
    *,
    per_role: int = 50,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Fits on one model and measures there and on its relatives; goes on after a kill.

    Args:
        model: The model that is fitted on.
        relatives: Models of the same form and other weights.
        method: Its settings.
        concepts: Names of the world.
        judge: It must know them.
        out_dir: A run folder for each model is made there, and a folder of the edits.
        per_role: Prompts of each role for each concept.
        seed: Of fits, controls and prompts.
        progress: Shows fits and images.

    Returns:
        A row for each model, concept, condition and metric (efficacy, generality, near, far, intact), with the columns
        of `evaluation.tables.metrics` (value with low and high, `unedited`, n, mark) and `gate`, how far the adapter
        opens for the prompts in the mean.

    Raises:
        WorkbenchError: Two models have one name, an edit there was fitted otherwise, or a relative has another form,
            before any picture; or the judge does not recognise a relative's unedited pictures.
    """
    out_dir = Path(out_dir)
    names = [Path(one.name).name for one in (model, *relatives)]
    if len(set(names)) < len(names):
        raise WorkbenchError(f"Two models have one name ({', '.join(names)}).", "Name their folders differently.")
    edits = {name: _fitted(model, method, name, out_dir / EDITS, seed, progress) for name in concepts}
    for one in relatives:
        for edit in edits.values():
            edit.check_layers(one)
    tables = []
    for name, one in zip(names, (model, *relatives), strict=True):
        trials = []
        for concept, edit in edits.items():
            moved = edit if one is model else transferred(edit, one)
            conditions = {SPM_: moved, RANDOM: moved.random(seed)}
            trials.append((suite(concept, per_role, seed), conditions))
        run = evaluate_concepts(one, trials, judge, out_dir / name, progress=progress)
        gates = {concept: _gates(edit, one, suite(concept, per_role, seed)) for concept, edit in edits.items()}
        table = metrics(run).assign(model=name)
        tables.append(table.assign(gate=[gates[row.concept].get(row.metric) for row in table.itertuples()]))
    return _shown(pd.concat(tables, ignore_index=True))


def _fitted(model: Diffusion, method: SPM, concept: str, folder: Path, seed: int, progress: Progress) -> AdapterEdit:
    """The edit of a concept, fitted unless it was before."""
    place = folder / concept.replace(" ", "-")
    if not place.exists():
        method.fit(model, [known_concepts()[concept]], seed=seed, progress=progress).save(place)
    edit = AdapterEdit.read(place)
    told = {**asdict(method), "guidance_rescale": method.rescale_on(model)}
    if dict(edit.settings) != told or edit.seed != seed:
        raise WorkbenchError(f"{place} was fitted with other settings or another seed.", "Choose another folder.")
    edit.check(model)
    return edit


def _gates(edit: AdapterEdit, model: Diffusion, asked: Suite) -> dict[str, float]:
    """Mean γ over the prompts of each rate, by the text encoder of this model."""
    gates = edit.gates(model, [row.prompt for row in asked.rows]).mean(dim=1).tolist()
    by_role = {role: [gate for gate, row in zip(gates, asked.rows, strict=True) if row.role == role] for role in ROLES}
    return {ROLES[role].metric: fmean(own) for role, own in by_role.items() if own}


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    chosen = table[table["metric"].isin(SHOWN) & table["condition"].isin([SPM_, RANDOM])]
    return chosen.assign(metric=chosen["metric"].map(SHOWN))[["model", "concept", "condition", "metric", *COLUMNS]]
