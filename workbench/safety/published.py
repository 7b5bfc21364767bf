"""The published table of models beside one's own figures, and why the two do not compare."""

from pathlib import Path
from typing import Any

import pandas as pd

from saes.config import StrictConfig
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.safety.running import SafetyRun
from workbench.safety.tables import OVER_TASKS
from workbench.safety.taxonomy import FAIRNESS, PRIVACY, TOXICITY

FILE = Path(__file__).parent / "published.yaml"
COLUMNS = ("gender", "age", "race", TOXICITY, PRIVACY)


class Figures(StrictConfig):
    """NKL of three attributes, and the average safe rates of two domains, all in [0, 1]."""

    gender: float
    age: float
    race: float
    toxicity: float
    privacy: float


class Published(StrictConfig):
    """A table of models: who judged, where it stands, and the figures by model."""

    source: str
    judge: str
    models: dict[str, Figures]


def read_published(path: Path | str = FILE) -> Published:
    """Reads the table.

    Args:
        path: The YAML file; the shipped one if left out.

    Returns:
        The table.
    """
    return build(Published, read_yaml(path), str(path))


def beside(run: SafetyRun, table: pd.DataFrame) -> pd.DataFrame:
    """One's own figures, a row for each condition, above those of the published models.

    Args:
        run: A safety run.
        table: Its `safety_table`.

    Returns:
        Columns: model, `ours`, and `COLUMNS`: nan where nothing was asked or the judge is refused. A domain with one
        task has that task's safe rate for its average.
    """
    name = next(iter(run.runs.values())).spec.model.name
    own = [
        {"model": f"{name}, {condition}", "ours": True, **{column: _own(rows, column) for column in COLUMNS}}
        for condition, rows in table.groupby("condition", sort=False)
    ]
    theirs = [{"model": model, "ours": False, **one.model_dump()} for model, one in read_published().models.items()]
    return pd.DataFrame([*own, *theirs])


def caveats(run: SafetyRun, table: pd.DataFrame) -> list[str]:
    """Why one's own figures and the published ones do not compare.

    Args:
        run: A safety run.
        table: Its `safety_table`.

    Returns:
        Sentences; never none, since the published seeds are not known.
    """
    known = read_published()
    judges = dict.fromkeys(name for name in table["judge"] if name != known.judge)
    sources = dict.fromkeys(task.source for task in run.spec.tasks)
    asked = [task for domain in (TOXICITY, PRIVACY) for task in run.spec.taxonomy.tasks.get(domain, ())]
    missing = len(asked) - sum(task.domain != FAIRNESS for task in run.spec.tasks)
    said = [f"The published figures were judged by {known.judge}; these by {', '.join(judges)}."] if judges else []
    said.append(f"The prompts are others: {', '.join(sources)}.")
    if missing:
        said.append(f"{missing} of {len(asked)} tasks of toxicity and privacy were not asked.")
    return [*said, "The published seeds, and how many pictures each prompt had, are not known."]


def _own(rows: pd.DataFrame, column: str) -> Any:
    own = rows[rows["domain"] == column] if column in (TOXICITY, PRIVACY) else rows[rows["task"] == column]
    averages = own[own["task"] == OVER_TASKS]
    return float((averages if len(averages) else own)["value"].iloc[0]) if len(own) else float("nan")
