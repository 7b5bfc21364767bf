"""`study_report`: a study as one HTML file: verdict, tests, effects, doses, and pictures of every condition."""

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from workbench.evaluation.results import Results
from workbench.figures.evaluation import VERDICT_COLOURS
from workbench.figures.studies import dose_response, study_effects, study_tests
from workbench.reports.references import STUDIES
from workbench.reports.report import chart, write_report
from workbench.reports.sheets import Sheet, sheets
from workbench.studies.study import StudyResult

MEANING = {
    "necessary": "Necessary: without the subject, pictures of prompts that name the concept show it no longer, and "
    "random parts that change as much do not have that effect.",
    "sufficient": "Sufficient: patched into prompts that name something else, whatever that is, the subject alone "
    "brings the concept about, and random parts that change as much do not.",
    "specific": "Specific: taking the subject out costs the concept more pictures than other concepts in the same "
    "sentences, and more so than taking out random parts.",
}
EFFECT = {
    "necessary": "the share of pictures that lose the concept",
    "sufficient": "the share of pictures that gain the concept",
    "specific": "the share of pictures that lose what their prompt names",
}


def study_report(result: StudyResult, path: Path | str) -> Path:
    """Writes the report of a finished study. The page holds everything and loads nothing.

    Args:
        result: The study.
        path: The HTML file.

    Returns:
        The path.
    """
    shown = {"sheets": _sheets(result), "verdict_colours": VERDICT_COLOURS}
    return write_report("study.html", {**_facts(result), **_charts(result), **shown}, path)


def _facts(result: StudyResult) -> dict[str, Any]:
    study, run = result.study, result.run
    single = (result.effects["draw"] > 0) | (result.effects["whose"] != "random")
    return {
        "study": study, "verdict": result.verdict, "parts": result.parts, "spec": run.spec,
        "judge": run.judges[result.judge],
        "meaning": MEANING[study["claim"]], "effect": EFFECT[study["claim"]],
        "rows": result.effects[single].to_dict("records"), "n_images": len(run.spec.cells()), "run_dir": run.dir,
        "references": STUDIES,
    }  # fmt: skip


def _charts(result: StudyResult) -> dict[str, Markup | None]:
    """By name; a study with one dose has no curve over doses."""
    effects, dose = result.effects, result.study["dose"]
    tests = pd.DataFrame([test._asdict() for test in result.verdict.tests])
    changing = effects[effects["whose"].isin(["subject", "random"])]
    at_dose = changing[(changing["dose"] == dose) & ((changing["draw"] > 0) | (changing["whose"] == "subject"))]
    curves = changing[changing["draw"] == 0]
    labels = [_label(row, result) for row in at_dose.itertuples()]
    charts = {
        "tests": study_tests(tests, result.study["smallest"]),
        "effects": study_effects(at_dose, labels),
        "doses": dose_response(curves) if curves["dose"].nunique() > 1 else None,
    }
    return {f"{name}_chart": None if plot is None else chart(f"chart-{name}", plot) for name, plot in charts.items()}


def _label(row: Any, result: StudyResult) -> str:
    draw = row.draw
    return result.parts[draw]["words"] + (" (random)" if draw else "")


def _sheets(result: StudyResult) -> list[Sheet]:
    """Pictures of every condition: at the dose of the claim for all draws, at every dose for the subject."""
    return sheets(Results.of(result.run, result.judge), result.run.spec.trials[0])
