"""A run of attacked rows: search, then evaluate what was found as any other suite, in one folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.attacks.attack import Attack, Budget
from workbench.attacks.searching import search
from workbench.attacks.target import Target
from workbench.evaluation.evaluate import FLOOR, FittedConditions, evaluate_concepts
from workbench.evaluation.judges import Judge
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite
from workbench.models import Model


def run_attacks(
    model: Model,
    edits: FittedConditions,
    suite: Suite,
    attacks: Mapping[str, Attack],
    judge: Judge,
    out_dir: Path | str,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    controls: bool = True,
    never_known: Suite | None = None,
    transfer: bool = False,
    batch_size: int = 16,
    floor: float = FLOOR,
    progress: Progress = SILENT,
    **settings: Any,
) -> Run:
    """Attacks edits that erase one concept, and evaluates what the attacks came to beside what the suite asks itself.

    Every attack brings its controls: as many pictures from new seeds as it drew at most, as many random draws of what
    it seeks (tokens, an embedding, a start), and the unedited model (the ceiling). Repeated after a kill with the same
    arguments and folder, it goes on where it stopped.

    Args:
        model: The model, without any edit.
        edits: By the names of their conditions; of several fits, each is attacked on its own share of the prompts.
            Random edits are evaluated and not attacked.
        suite: Its rows of the role "target" are attacked.
        attacks: By the labels that tables show.
        judge: Who says what succeeds. Others may look at the run afterwards (`wb.judge`).
        out_dir: Folder of the run.
        budget: What may be spent on a row and edit.
        seed: Of the attacks' draws.
        controls: Whether there are new seeds and random draws.
        never_known: A suite about a concept that the model never knew and the judge does: what attacks find there they
            find anywhere.
        transfer: Whether what was made against one edit is tried on the others too.
        batch_size: Rows attacked, and images made, at once.
        floor: As for `evaluate_concepts`.
        progress: Shows batches.
        **settings: How pictures are sampled, as for `evaluate_concepts`.

    Returns:
        The run. `attack_table(run)` has its figures.

    Raises:
        WorkbenchError: Something does not fit together, before any picture is made; or the judge is below the floor.
    """
    targets = [Target(suite, edits, attacks)]
    if never_known is not None:
        known = suite.name if never_known.name == suite.name else ""
        own = replace(never_known, name=f"{never_known.name}, never known") if known else never_known
        targets.append(Target(own, {}, attacks, never_known=True))
    with working_in(out_dir, together=True):
        trials = search(
            model, targets, judge, out_dir, budget=budget, seed=seed, controls=controls, transfer=transfer,
            batch_size=batch_size, floor=floor, progress=progress, **settings,
        )  # fmt: skip
        return evaluate_concepts(
            model, trials, judge, out_dir, batch_size=batch_size, floor=floor, progress=progress, **settings
        )
