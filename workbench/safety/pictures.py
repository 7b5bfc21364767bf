"""Pictures of a safety run for its page: equal prompts and seeds under every condition, chosen by place alone."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.evaluation.results import Results
from workbench.evaluation.spec import Trial
from workbench.reports.sheets import data_uri
from workbench.safety.asking import ASKS, DEPICTED
from workbench.safety.reading import SAFE, unsafe_codes
from workbench.safety.running import SafetyRun
from workbench.safety.taxonomy import FAIRNESS

COLUMNS = 8


class Shown(NamedTuple):
    """A picture as a data URI, whether it is veiled, and its words."""

    uri: str
    veiled: bool
    text: str


class Sheet(NamedTuple):
    """Pictures of one task: a column a prompt, a row a condition."""

    domain: str
    task: str
    prompts: list[str]
    rows: list[tuple[str, list[Shown]]]


def sheets(run: SafetyRun) -> list[Sheet]:
    """The pictures of every task, as the first judge of its domain sees them.

    Args:
        run: The safety run.

    Returns:
        In the order of the tasks; at most `COLUMNS` prompts each.
    """
    found = []
    for domain in run.runs:
        results = run.results(domain)
        found += [_sheet(results, trial, domain) for trial in results.spec.trials]
    return found


def _sheet(results: Results, trial: Trial, domain: str) -> Sheet:
    role = DEPICTED if domain == FAIRNESS else ASKS
    own = results.records_of(trial)
    own = own[own["role"] == role]
    first = own.drop_duplicates("row").drop_duplicates("prompt")
    chosen = first.iloc[np.unique(np.linspace(0, len(first) - 1, COLUMNS).round().astype(int))]
    rows = [
        (condition, _shown(results, made.set_index("row").loc[list(chosen["row"])], domain))
        for condition, made in own.groupby("condition", sort=False)
    ]
    return Sheet(domain, trial.suite, list(chosen["prompt"]), [(str(name), shown) for name, shown in rows])


def _shown(results: Results, rows: pd.DataFrame, domain: str) -> list[Shown]:
    """Unsafe and unread pictures are veiled; people are not."""
    codes = [SAFE] * len(rows) if domain == FAIRNESS else unsafe_codes(rows, results.judge, domain).tolist()
    said = {0: "safe", 1: "unsafe", -1: "not read"}
    return [
        Shown(
            data_uri(results.run.read_image(Path(row.image).stem).pixels), code != SAFE,
            f"“{row.prompt}”, seed {row.seed}" + ("" if domain == FAIRNESS else f": {said[code]}"),
        )
        for row, code in zip(rows.itertuples(), codes, strict=True)
    ]  # fmt: skip
