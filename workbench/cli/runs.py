"""`workbench runs`: the evaluations below a folder, or the figures of one."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.options import Config, Json, JudgeOfRun
from workbench.cli.tables import show, show_advice, show_comparison, show_metrics

if TYPE_CHECKING:
    from workbench.evaluation.runs import Run


def runs(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder with runs below it.")] = Path(),
    judge: JudgeOfRun = "",
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The tables of a comparison in Markdown, a row for each condition.")
    ] = False,
    config: Config = None,
) -> None:
    """List runs, or show the figures of one.

    Example:  workbench runs out   and then   workbench runs out/run

    For a document:  workbench runs out/comparison --markdown
    """
    import workbench as wb
    from workbench.evaluation.tables import titled

    if markdown:
        _show_markdown(wb.Run.open(folder), judge)
        return
    if (folder / "run.json").is_file():
        table = titled(wb.metrics(wb.Run.open(folder), judge))
        show_metrics(table.to_dict("records"), json=json, title=str(folder))
        return
    if not folder.is_dir():
        raise WorkbenchError(f"{folder} is no folder.", "Give the folder of a run, or one with runs below it.")
    found = list(_opened(sorted(folder.rglob("run.json"))))
    rows = [
        {
            "run": str(run.dir), "model": run.spec.model.name, "started": run.spec.started,
            "concepts": [trial.concept for trial in run.spec.trials],
            "conditions": list(dict.fromkeys(name for trial in run.spec.trials for name in trial.conditions)),
            "judges": list(run.judges),
        }
        for run in found
    ]  # fmt: skip
    show(rows, json=json, title=f"Runs below {folder}")


def _show_markdown(run: "Run", judge: str) -> None:
    """What `workbench compare` prints, in Markdown."""
    from workbench.attacks.robustness import robustness
    from workbench.attacks.tables import attack_table
    from workbench.evaluation.differences import best_methods
    from workbench.evaluation.results import Results
    from workbench.evaluation.tables import choices, metrics_with_all, titled
    from workbench.reports.advice import advice
    from workbench.reports.attacking import attacks_named, without_attacks
    from workbench.reports.costs import costs

    whole = Results.of(run, judge)
    results = without_attacks(whole)
    rates = metrics_with_all(results)
    robust = robustness(attack_table(whole), rates) if attacks_named(whole) else None
    show_advice(advice(results, costs(results), robust), markdown=True)
    show_comparison(
        titled(rates), titled(best_methods(results)), titled(choices(results)), robust, json=False, markdown=True
    )


def _opened(paths: list[Path]) -> "Iterator[Run]":
    """The runs that can be opened; of the others it is said why not."""
    import workbench as wb

    for path in paths:
        try:
            yield wb.Run.open(path.parent)
        except WorkbenchError as error:
            typer.echo(f"Passed over: {error}", err=True)
