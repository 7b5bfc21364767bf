"""What every method was measured to do on the embedded model: kept with its weights, shown by `workbench methods`.

The figures come from a run of `workbench compare --all` and name the weights that they were measured on.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from saes.disk import read_json, write_json
from workbench.comparison.fits import fit_seconds
from workbench.comparison.plan import ComparisonFile
from workbench.evaluation.tables import ALL, metrics_with_all
from workbench.runs import UNEDITED, Run, is_method

FILE = "methods.json"
FIELDS = ("fingerprint", "concepts", "rows")
RATES = ("efficacy", "generality", "implied_efficacy", "neighbour_specificity", "unrelated_specificity")


def measured(run: Run, methods: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each condition of a comparison, controls included: pooled over its concepts.

    `methods` maps conditions to methods ("" for the rest). Rates are {"value", "low", "high", "n"}, shares in [0, 1]
    with 95 % intervals, None where nothing was asked; `fit` is the median time of a fit and `image` that of an image,
    both divided by the time of an image of the unedited model in the same run.
    """
    table = metrics_with_all(run)
    table = table[table["concept"] == (ALL if ALL in set(table["concept"]) else table["concept"].iloc[0])]
    seconds, fits = run.records().groupby("condition")["seconds"].median(), _fits(run)
    return [
        {
            "condition": name,
            "method": methods.get(name, ""),
            **{metric: _rate(own, metric) for metric in RATES},
            "fit": fits[name] / seconds[UNEDITED] if name in fits else None,
            "image": seconds[name] / seconds[UNEDITED],
        }
        for name, own in table.groupby("condition", sort=False)
    ]


def write_measured(run: Run, plan: ComparisonFile, path: Path) -> None:
    """Writes the file that `read_measured` reads."""
    methods = {name: entry.method for name, entry in plan.methods.items()}
    write_json(
        path, dict(zip(FIELDS, (run.spec.model.fingerprint, plan.concepts, measured(run, methods)), strict=True))
    )


def read_measured(folder: Path) -> dict[str, Any]:
    """{"fingerprint", "concepts", "rows"} of a folder of weights; no rows where nothing was measured."""
    path = folder / FILE
    return read_json(path, FIELDS) if path.exists() else {"fingerprint": "", "concepts": [], "rows": []}


def _rate(own: pd.DataFrame, metric: str) -> dict[str, float] | None:
    found = own[(own["metric"] == metric) & own["value"].notna()]
    return None if found.empty else found.iloc[0][["value", "low", "high", "n"]].to_dict()


def _fits(run: Run) -> dict[str, float]:
    """The median seconds of the fits of each condition."""
    seconds = fit_seconds(run.dir)
    rows = [
        (name, seconds[edit.hash])
        for trial in run.spec.trials
        for name, edit in trial.conditions.items()
        if edit and is_method(name) and edit.hash in seconds
    ]
    return pd.DataFrame(rows, columns=["condition", "seconds"]).groupby("condition")["seconds"].median().to_dict()
