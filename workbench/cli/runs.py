"""`workbench runs`: the evaluations below a folder, or the figures of one."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, Json
from workbench.cli.tables import show, show_metrics


def runs(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder with runs below it.")] = Path(),
    json: Json = False,
    config: Config = None,
) -> None:
    """List runs, or show the figures of one.

    Example:  workbench runs out   and then   workbench runs out/run
    """
    import workbench as wb

    if (folder / "run.json").is_file():
        show_metrics(wb.metrics(wb.Run.open(folder)).to_dict("records"), json=json, title=str(folder))
        return
    found = [wb.Run.open(path.parent) for path in sorted(folder.rglob("run.json"))]
    rows = [
        {
            "run": str(run.dir), "model": run.spec.model.name, "started": run.spec.started,
            "concepts": [trial.concept for trial in run.spec.trials],
            "conditions": list(dict.fromkeys(name for trial in run.spec.trials for name in trial.conditions)),
            "finished": (run.dir / "records.parquet").is_file(),
        }
        for run in found
    ]  # fmt: skip
    show(rows, json=json, title=f"Runs below {folder}")
