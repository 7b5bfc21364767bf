"""What is attacked after the fits of a comparison, as data, and the attacks themselves.

Every edit of a concept is attacked on prompts that name the concept; of several fits each on its share of them. What
the attacks come to are further rows of the same run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from saes.config import Seed, StrictConfig
from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.attacks import attack_of
from workbench.attacks.attack import Attack, Budget
from workbench.attacks.searching import search
from workbench.attacks.target import Target, check_attacks
from workbench.comparison.subjects import Subject
from workbench.concepts import Concept
from workbench.evaluation.evaluate import FLOOR, FittedConditions
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import Suite
from workbench.models import Model

Trials = Sequence[tuple[Suite, FittedConditions]]


class AttackEntry(StrictConfig):
    """An attack of the file: its name in ATTACKS, and beside it its settings, which win over what a concept gives."""

    model_config = ConfigDict(extra="allow")  # the settings, which the attack itself checks

    attack: str

    def made(self, concept: Concept) -> Attack:
        """The attack on a concept.

        Args:
            concept: What is to come back.

        Returns:
            An instance of the attack.

        Raises:
            WorkbenchError: The attack or a setting is unknown, or a value does not fit.
        """
        return attack_of(self.attack, concept, self.__pydantic_extra__ or {})


class AttackPlan(StrictConfig):
    """What a file says of attacks.

    Args:
        attacks: By their labels, `{attack: cce, steps: 100}`.
        concepts: Which of the comparison's are attacked; all if left out.
        prompts: Of those that name a concept, so many are attacked, the first ones; all if left out.
        images: Pictures that an attack may draw for a prompt.
        gradients: Backward passes that it may make for a prompt.
        controls: Whether there are as many new seeds, and as many random tokens.
        seed: Of the attacks' draws.
    """

    attacks: dict[str, AttackEntry]
    concepts: tuple[str, ...] = ()
    prompts: int | None = Field(default=None, ge=1)
    images: int = 8
    gradients: int = 400
    controls: bool = True
    seed: Seed = 0

    def model_post_init(self, context: object) -> None:
        """Refuses a plan that attacks nothing.

        Args:
            context: Not read.

        Raises:
            WorkbenchError: There is no attack, or the budget is none.
        """
        if not self.attacks:
            raise WorkbenchError("There is no attack.", "Give at least one, such as `replay: {attack: replay}`.")
        assert self.budget  # refused by itself

    @property
    def budget(self) -> Budget:
        """Of a row."""
        return Budget(self.images, self.gradients)

    def check(self, subjects: Sequence[Subject], fit_seeds: int) -> None:
        """Refuses what does not go together with a comparison.

        Args:
            subjects: Those of the comparison.
            fit_seeds: How many fits share the prompts.

        Raises:
            WorkbenchError: A concept is not compared, an attack or one of its settings is unknown, or a fit would not
                be attacked.
        """
        for target in self.targets(subjects):
            if (n := len({row.prompt for row in target.rows})) < fit_seeds:
                raise WorkbenchError(
                    f"{n} prompts about {target.suite.target!r} are attacked, for {fit_seeds} fits to share.",
                    "Ask for more prompts, or for fewer fit_seeds.",
                )

    def targets(self, subjects: Sequence[Subject], edits: Sequence[FittedConditions] = ()) -> list[Target]:
        """What is attacked.

        Args:
            subjects: Those of the comparison.
            edits: The conditions of each; none before they are fitted.

        Returns:
            A target for each concept that is attacked.

        Raises:
            WorkbenchError: A concept is not compared, or an attack or one of its settings is unknown.
        """
        known = [subject.concept.name for subject in subjects]
        for name in self.concepts:
            if name not in known:
                raise unknown_name("compared concept", name, known)
        return [
            Target(
                suite, own, {label: entry.made(concept) for label, entry in self.attacks.items()}, most=self.prompts
            )
            for (concept, suite, _), own in zip(subjects, edits or [{} for _ in subjects], strict=True)
            if concept.name in (self.concepts or known)
        ]  # fmt: skip


def read_attacks(path: Path | str) -> AttackPlan:
    """Reads a file of attacks.

    Args:
        path: YAML with the keys of `AttackPlan`.

    Returns:
        What it says.

    Raises:
        WorkbenchError: A key is unknown (the nearest is named) or missing, or a value is of another type.
    """
    return build(AttackPlan, read_yaml(path), str(path))


def check_plan(plan: AttackPlan, model: Model, subjects: Sequence[Subject], judge: Judge) -> None:
    """Refuses what can be told before anything is fitted.

    Args:
        plan: What is attacked.
        model: The model, without any edit.
        subjects: Those of the comparison.
        judge: Who says what succeeds.

    Raises:
        WorkbenchError: The judge does not know a concept, or an attack does not work on the model, the prompts, or
            within the budget.
    """
    for target in plan.targets(subjects):
        check_attacks(model, target, judge, plan.budget, plan.controls)


def attacked(
    plan: AttackPlan, model: Model, subjects: Sequence[Subject], trials: Trials, judge: Judge, out_dir: Path | str,
    *, batch_size: int = 16, floor: float = FLOOR, progress: Progress = SILENT, **settings: Any,
) -> Trials:  # fmt: skip
    """Attacks the edits of a comparison; what was searched before is found again.

    Args:
        plan: What is attacked, and how.
        model: The model, without any edit.
        subjects: Those of the comparison.
        trials: The suite of each, with its conditions.
        judge: Who says what succeeds.
        out_dir: Folder of the run.
        batch_size: Rows attacked at once.
        floor: As for `evaluate_concepts`.
        progress: Shows batches.
        **settings: How pictures are sampled.

    Returns:
        The trials in their order, those of attacked concepts with the rows of attacks and controls.

    Raises:
        WorkbenchError: An edit does not let an attack work, before any picture is made; or the judge is below the
            floor.
    """
    found = search(
        model, plan.targets(subjects, [own for _, own in trials]), judge, out_dir, budget=plan.budget, seed=plan.seed,
        controls=plan.controls, batch_size=batch_size, floor=floor, progress=progress, **settings,
    )  # fmt: skip
    by_name = {suite.name: (suite, own) for suite, own in found}
    return [by_name.get(suite.name, (suite, own)) for suite, own in trials]
