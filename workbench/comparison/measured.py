"""What every method was measured to do on the embedded model: kept with its weights, shown by `workbench methods`.

The figures come from a run of `workbench compare --all` and name the weights that they were measured on.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from saes.disk import read_json, write_json
from workbench.attacks.robustness import over_all, succeeds
from workbench.comparison.plan import ComparisonFile
from workbench.evaluation.results import Results
from workbench.evaluation.roles import ROLES, rates
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import ALL, metrics_with_all

FILE = "methods.json"
FIELDS = ("fingerprint", "concepts", "rows")
RATES = tuple(rates(ROLES.values()))


def measured(run: Run | Results, methods: dict[str, str], attacks: pd.DataFrame | None = None) -> list[dict[str, Any]]:
    """A row for each condition of a comparison, controls included, pooled over its concepts.

    Timings are left out: a resumed run may span several machines (see `benchmarks/edit_costs.py`).

    Args:
        run: The comparison, or its results without what attacks it.
        methods: Condition → method; those that it does not name have "".
        attacks: `attack_table(run)`; None where nothing was attacked.

    Returns:
        Rows with `condition`, `method` and every rate of `RATES`: {"value", "low", "high", "n"}, shares in [0, 1] with
        95 % intervals, None where nothing was asked; and `post_asr`, attack → the same of what shows the concept after
        it, with `succeeds` and `new_seeds` beside it, empty for what was not attacked.
    """
    posts = {} if attacks is None else _posts(over_all(attacks))
    table = metrics_with_all(run)
    table = table[table["concept"] == (ALL if ALL in set(table["concept"]) else table["concept"].iloc[0])]
    return [
        {
            "condition": name,
            "method": methods.get(str(name), ""),
            "chosen_on": run.spec.chosen_on.get(str(name), ""),
            **{metric: _rate(own, metric) for metric in RATES},
            "post_asr": posts.get(str(name), {}),
        }
        for name, own in table.groupby("condition", sort=False)
    ]


def write_measured(run: Run | Results, plan: ComparisonFile, path: Path, attacks: pd.DataFrame | None = None) -> None:
    """Writes the file that `read_measured` reads.

    Args:
        run: The comparison, or its results without what attacks it.
        plan: What it was made from.
        path: The file.
        attacks: `attack_table(run)`; None where nothing was attacked.
    """
    rows = measured(run, plan.conditions, attacks)
    write_json(path, dict(zip(FIELDS, (run.spec.model.fingerprint, plan.concepts, rows), strict=True)))


def read_measured(folder: Path) -> dict[str, Any]:
    """What was measured of the methods on some weights.

    Args:
        folder: The folder of the weights.

    Returns:
        {"fingerprint", "concepts", "rows"}: the model's, the concepts' names, and rows as `measured` gives them. No
        rows where nothing was measured.

    Raises:
        WorkbenchError: The file is damaged.
    """
    path = folder / FILE
    return read_json(path, FIELDS) if path.exists() else {"fingerprint": "", "concepts": [], "rows": []}


def _posts(attacks: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Condition → attack → what it came to."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for won, (_, row) in zip(succeeds(attacks), attacks.iterrows(), strict=True):
        seeds = None if pd.isna(row["new seeds"]) else float(row["new seeds"])
        told = {"value": row["post"], "low": row["post_low"], "high": row["post_high"], "n": int(row["n"])}
        found.setdefault(row["condition"], {})[row["attack"]] = {**told, "new_seeds": seeds, "succeeds": bool(won)}
    return found


def _rate(own: pd.DataFrame, metric: str) -> dict[str, float] | None:
    found = own[(own["metric"] == metric) & own["value"].notna()]
    return None if found.empty else found.iloc[0][["value", "low", "high", "n"]].to_dict()
