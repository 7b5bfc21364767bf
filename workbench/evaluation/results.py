"""The results of a run as one judge sees it: its records, read once, and the figures of each condition, computed once.

Tables, differences, figures and reports take them, or the run and make them.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.conditions import UNEDITED
from workbench.evaluation.judges import JudgeSpec
from workbench.evaluation.measuring import GATE, Figure, measured
from workbench.evaluation.roles import ROLES, Role, joined_roles, rates
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import RunSpec, Trial


class Pair(NamedTuple):
    """Records of a condition and of the unedited model, row by row of one prompt and seed."""

    after: pd.DataFrame
    before: pd.DataFrame


class Results:
    """What is known of a finished run.

    Args:
        run: The run.
        judge: The name of the judge, as `run.judges` has it.
        records: The run's records by this judge.
    """

    def __init__(self, run: Run, judge: str, records: pd.DataFrame) -> None:
        self.run = run
        self.judge_name = judge
        self.records = records
        self._measured: dict[tuple, dict[str, Figure]] = {}

    @classmethod
    def of(cls, source: "Run | Results", judge: str = "") -> "Results":
        """The results of a run; results by the same judge are handed back as they are.

        Args:
            source: A finished run, or results.
            judge: A name of `run.judges`; "" for the first, or for the results' own.

        Raises:
            WorkbenchError: The run is not finished, or no such judge looked at it.
        """
        if isinstance(source, Results):
            return source if judge in ("", source.judge_name) else cls.of(source.run, judge)
        records = source.records(judge)
        return cls(source, judge or next(iter(source.judges)), records)

    @cached_property
    def judge(self) -> JudgeSpec:
        """The judge."""
        return self.run.judges[self.judge_name]

    @property
    def spec(self) -> RunSpec:
        """What the run was asked for."""
        return self.run.spec

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Every role by name, those of the run's own suites last."""
        return joined_roles([*ROLES.values(), *self.spec.roles])

    @cached_property
    def rates(self) -> dict[str, tuple[Role, ...]]:
        """The rates, and the roles that count in them."""
        return rates(self.roles.values())

    def measured(self, trial: Trial, condition: str) -> dict[str, Figure]:
        """The figures of a condition on one suite: see `measuring.measured`."""
        key = (trial.suite, trial.concept, condition)
        if key not in self._measured:
            self._measured[key] = measured(*self.pair(trial, condition), self.rates)
        return self._measured[key]

    def pooled(self, condition: str, trials: Sequence[Trial] | None = None) -> dict[str, Figure]:
        """The figures of a condition over these suites, all if left out, without the images of metrics that are void
        for a concept."""
        own = tuple(self.spec.trials if trials is None else trials)
        key = (condition, *((trial.suite, trial.concept) for trial in own))
        if key not in self._measured:
            pairs = [_without_void(self.pair(trial, condition)) for trial in own]
            after, before = (pd.concat(parts, ignore_index=True) for parts in zip(*pairs, strict=True))
            self._measured[key] = measured(after, before, self.rates)
        return self._measured[key]

    def pair(self, trial: Trial, condition: str) -> Pair:
        """Joined by the row's place in the suite, not by the order of the records; `share` is the row's of the suite's
        prompts (`Trial.shares`)."""
        own, shares = self.records_of(trial), np.array(trial.shares)
        after, before = (own[own["condition"] == name].set_index("row") for name in (condition, UNEDITED))
        after = after.assign(share=shares[after.index])
        return Pair(after.reset_index(), before.loc[after.index].reset_index())

    def records_of(self, trial: Trial) -> pd.DataFrame:
        """The records of one suite, of all its conditions."""
        return self._by_trial[trial.suite, trial.concept]

    @cached_property
    def _by_trial(self) -> dict[tuple, pd.DataFrame]:
        return dict(list(self.records.groupby(["suite", "concept"], sort=False)))


def _without_void(pair: Pair) -> Pair:
    """The pair without the roles whose concepts the unedited model does not show."""
    kept = (pair.before.groupby("role")["shown"].transform("mean") > GATE).to_numpy()
    return Pair(pair.after[kept], pair.before[kept])
