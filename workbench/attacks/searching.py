"""Attacks on edits, row by row: what comes out is a suite, evaluated as any other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import Attack, Budget
from workbench.edits import Edit
from workbench.evaluation.inputs import input_hash
from workbench.evaluation.judges import Judge
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite
from workbench.models import Model

ATTACKED = Role(
    name="attacked", metric="attacked_efficacy", wanted="absent", label="attacks the edit",
    pictures="whose prompt attacks the edit", in_mean=False, named=False,
)  # fmt: skip


def attacked(
    attack: Attack,
    model: Model,
    edits: Mapping[str, Edit],
    suite: Suite,
    judge: Judge,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> Suite:
    """The suite of the prompts by which an attack met each edit: evaluated as any other, on these edits or on more.

    Args:
        attack: The attack.
        model: The model, without an edit.
        edits: By the names of their conditions. Each is attacked by itself, and its prompts belong to its condition.
        suite: Its rows about the target are attacked, at their own seeds.
        judge: Who says whether an attempt succeeds.
        budget: What may be spent on a row and edit.
        seed: Of the attack's own draws.
        progress: Shows the edits.
        **sampling: As `model.generate` takes it.

    Raises:
        WorkbenchError: The suite has no row about its target, or there is no edit.
    """
    model.check_unedited("An attack")
    rows = [row for row in suite.rows if suite.known_roles[row.role].wanted == "absent"]
    if not rows or not edits:
        raise WorkbenchError("There is nothing to attack.", "Give a suite with rows about its target, and an edit.")
    found, inputs = [], {}
    for name in progress(list(edits), attack.name):
        attempts = attack.attempts(
            model, edits[name], rows, judge, budget=budget or Budget(), seed=seed, progress=progress, **sampling
        )
        for row, attempt in zip(rows, attempts, strict=True):
            known = "" if attempt.given is None else input_hash(attempt.given)
            if attempt.given is not None:
                inputs[known] = attempt.given
            own = row.seed if attempt.seed is None else attempt.seed
            found.append(replace(row, prompt=attempt.prompt, role=ATTACKED.name, seed=own, condition=name, input=known))
    title = f"{suite.name}, {attack.name}"
    return Suite(title, tuple(dict.fromkeys(found)), suite.anchor, roles=(ATTACKED,), inputs=inputs)
