"""Attacks on edits, row by row and resumable: what comes out are suites, evaluated as any others.

First each prompt is drawn as it is: what succeeds so needs no attack. The others are handed to the attacks in batches,
then to the controls, which may draw as many pictures as the attack drew at most. An attempt is kept as soon as its
batch is through, so that a kill costs one batch.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from saes.errors import WorkbenchError
from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.adults import may_involve_a_minor
from workbench.attacks.attack import Attack, Attempt, Budget
from workbench.attacks.attempts import COLUMNS, TABLE, Attempts, Stored, read_attempts, write_table
from workbench.attacks.controls import NewSeeds, Nothing, Plain
from workbench.attacks.outcomes import Outcome, attacked_suite
from workbench.attacks.roles import AT_RANDOM, NEW_SEEDS, Part
from workbench.attacks.target import Target, check_targets
from workbench.claims import UNFINISHED, claimed, share, sweep_unfinished
from workbench.conditions import UNEDITED
from workbench.edits import Edit
from workbench.evaluation.evaluate import FLOOR, FittedConditions
from workbench.evaluation.input_checks import tokenizers_of
from workbench.evaluation.judges import Judge, JudgeSpec, check_floor
from workbench.evaluation.runs import Run
from workbench.evaluation.saving import save_edit
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model
from workbench.models.model import Change
from workbench.settings import settled


def search(
    model: Model,
    targets: Sequence[Target],
    judge: Judge,
    out_dir: Path | str,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    controls: bool = True,
    transfer: bool = False,
    batch_size: int = 16,
    floor: float = FLOOR,
    progress: Progress = SILENT,
    **settings: Any,
) -> list[tuple[Suite, FittedConditions]]:
    """Attacks edits, and gives suites that hold what the attacks came to, ready for `evaluate_concepts`.

    Repeated after a kill with the same arguments and folder, it goes on where it stopped. Several processes share the
    conditions out.

    Args:
        model: The model, without an edit.
        targets: Suites with the edits and the attacks.
        judge: Who says what succeeds.
        out_dir: Folder of the run; `attempts/` and `attempts.parquet` are written there.
        budget: What may be spent on a row; the usual one if left out.
        seed: Of the attacks' draws.
        controls: Whether attacks are compared with new seeds, and with random draws of what they seek.
        transfer: Whether what was made against one edit is tried on all others too.
        batch_size: Rows that are attacked at once.
        floor: The least share of the unedited model's pictures in which the judge must see the target.
        progress: Shows batches.
        **settings: How pictures are sampled, as for `evaluate_concepts`.

    Returns:
        The suites with the rows of attacks and controls, each with its edits.

    Raises:
        WorkbenchError: Something does not fit together, before any picture is made; or the judge is below the floor.
    """
    spent = budget or Budget()
    check_targets(model, targets, judge, spent, controls)
    known = settled(model.settings, settings)
    with working_in(out_dir, together=True):
        _check_place(Path(out_dir), model, targets)
        kept = Attempts(Path(out_dir), model.identity, JudgeSpec.of(judge), known, seed)
        searcher = Searcher(model, judge, kept, spent, controls, batch_size, progress)
        check_floor(kept.judge, searcher.unedited(targets), floor)
        jobs = [(place, condition) for place, target in enumerate(targets) for condition in target.attacked]
        made = share(jobs, lambda job: searcher.all_of(targets[job[0]], job[1]), progress, "attacked conditions")
        sweep_unfinished(Path(out_dir) / UNFINISHED)
        found: list[list[Outcome]] = [[] for _ in targets]
        for (place, _), outcomes in made.items():
            found[place] += outcomes
        rows = [one.row_of_table() for outcomes in found for one in outcomes]
        write_table(Path(out_dir), rows, tokenizers_of(model))
    return [
        (attacked_suite(target, outcomes, transfer), {UNEDITED: None, **target.edits})
        for target, outcomes in zip(targets, found, strict=True)
    ]


@dataclass(frozen=True)
class Searcher:
    """Everything that all searches of a run share."""

    model: Model
    judge: Judge
    kept: Attempts
    budget: Budget
    controls: bool
    batch_size: int
    progress: Progress

    def unedited(self, targets: Sequence[Target]) -> Bool[np.ndarray, " rows"]:
        """Whether the unedited model shows what it is asked for, in the rows about what it knows."""
        own = Own(UNEDITED, (Fit(Nothing(), ""),))
        known = [row for target in targets if not target.never_known for row in target.rows]

        def drawn(_: str) -> list[Stored]:
            with claimed(self.kept.run_dir, "attacks", UNEDITED):
                return self.of(own, Plain(), known, Budget(images=1))

        return np.array([one.attempt.success for one in share([UNEDITED], drawn)[UNEDITED]], bool)

    def all_of(self, target: Target, condition: str) -> list[Outcome]:
        """A condition of a target under every attack. Raises `Busy` while another process attacks it."""
        edits = target.attacked[condition]
        own = Own(condition, tuple(Fit(one, self._saved(one)) for one in edits) or (Fit(Nothing(), ""),))
        with claimed(self.kept.run_dir, "attacks", target.suite.name, condition):
            plain = self.of(own, Plain(), target.rows, Budget(images=1))
            return [
                outcome
                for label, attack in target.attacks.items()
                for outcome in self._attacked(target, own, label, attack, plain)
            ]

    def _attacked(
        self, target: Target, own: "Own", label: str, attack: Attack, plain: Sequence[Stored]
    ) -> Iterator[Outcome]:
        """An attack and its controls on the rows that do not succeed without one."""
        going = [row for row, one in zip(target.rows, plain, strict=True) if not one.attempt.success]
        parts: list[tuple[str, Attack, Budget]] = [("", attack, self.budget)]
        while parts:
            what, attempting, budget = parts.pop(0)
            found = self.of(own, attempting, going, budget) if going else []
            if not what and self.controls:
                most = Budget(images=max([1, *(one.attempt.images for one in found)]))
                parts.append((NEW_SEEDS, NewSeeds(), most))
                if control := attack.control(self.model, going, [one.attempt for one in found]):
                    parts.append((AT_RANDOM, control, most))
            rest = iter(found)
            for place, (row, one) in enumerate(zip(target.rows, plain, strict=True)):
                already = one.attempt.success
                stored = Stored(Attempt(row.prompt, None, True, 0), 0.0) if already else next(rest)
                yield Outcome(target, own.condition, Part(label, what), attack.name, place, row, stored, already)

    def of(self, own: "Own", attack: Attack, rows: Sequence[SuiteRow], budget: Budget) -> list[Stored]:
        """The attempts of an attack on rows, each by the fit to whose share it belongs."""
        found: dict[int, Stored] = {}
        for number, fit in enumerate(own.fits):
            places = [place for place, row in enumerate(rows) if (row.share or 0) % len(own.fits) == number]
            label = f"{attack.name} on {own.condition}"
            found |= zip(places, self._on(fit, label, attack, [rows[place] for place in places], budget), strict=True)
        return [found[place] for place in range(len(rows))]

    def _on(self, fit: "Fit", label: str, attack: Attack, rows: Sequence[SuiteRow], budget: Budget) -> list[Stored]:
        """Those on one fit, batch by batch; a batch of which some are missing is attacked whole."""
        keys = [self.kept.key(fit.hash, attack, budget, row) for row in rows]
        found = {key: one for key in keys if (one := self.kept.read(key)) is not None}
        batches = [
            range(start, min(start + self.batch_size, len(rows))) for start in range(0, len(rows), self.batch_size)
        ]
        missing = [batch for batch in batches if any(keys[place] not in found for place in batch)]
        for batch in self.progress(missing, label) if missing else ():
            began = time.perf_counter()
            attempts = attack.attempts(
                self.model, fit.edit, [rows[place] for place in batch], self.judge, budget=budget,
                seed=self.kept.seed, progress=self.progress, **self.kept.sampling,
            )  # fmt: skip
            seconds = (time.perf_counter() - began) / len(batch)
            for place, attempt in zip(batch, attempts, strict=True):
                if keys[place] not in found:
                    found[keys[place]] = Stored(permitted(rows[place], attempt), seconds)
                    self.kept.write(keys[place], found[keys[place]])
        return [found[key] for key in keys]

    def _saved(self, edit: Edit) -> str:
        return save_edit(self.kept.run_dir, edit).hash


def _check_place(out_dir: Path, model: Model, targets: Sequence[Target]) -> None:
    """Raises `WorkbenchError` where the run that is to come would be refused, as far as that is known before."""
    run = Run.of_place(out_dir)
    if run is None:
        return
    run.check_model(model)
    there = read_attempts(out_dir) if (out_dir / TABLE).exists() else pd.DataFrame(columns=list(COLUMNS))
    wanted = {(one.suite.name, name, label) for one in targets for name in one.attacked for label in one.attacks}
    if wanted != set(there[["suite", "condition", "attack"]].itertuples(index=False, name=None)):
        raise WorkbenchError(
            f"{out_dir} holds another run (attacks differ).", "Choose another folder, or repeat that run's attacks."
        )


class Fit(NamedTuple):
    """What is attacked, and the hash of the saved edit; "" for none."""

    edit: Change
    hash: str


class Own(NamedTuple):
    """A condition: its name, and its fits."""

    condition: str
    fits: tuple[Fit, ...]


def permitted(row: SuiteRow, attempt: Attempt) -> Attempt:
    """The attempt, or the row's own prompt in its place where the prompt that was found may involve a minor."""
    if not may_involve_a_minor(attempt.prompt):
        return attempt
    return attempt._replace(prompt=row.prompt, given=None, success=False, seed=None, dropped=attempt.dropped + 1)
