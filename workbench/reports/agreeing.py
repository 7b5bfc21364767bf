"""`agreement_report`: how far two models' features for the same concepts agree, as a page with a figure and table."""

from pathlib import Path

import plotly.graph_objects as go

from workbench.figures.template import COLOURS, QUIET, figure
from workbench.reports.pages import write_page
from workbench.studies.agreement import AgreementResult


def agreement_report(result: AgreementResult, path: Path | str) -> Path:
    """Writes the report of a study of two models. The page opens offline.

    Args:
        result: The study.
        path: The HTML file.

    Returns:
        The path.
    """
    first, second = result.asked["first"], result.asked["second"]
    parts = {
        "The question": result.asked["question"],
        "What was found": result.sentence,
        "How it was asked": f"Features of {first['sae']} in {first['model']} find partners in {second['sae']} in "
        f"{second['model']} on half of the prompts, and are judged on the others. The control are partners that "
        "features of other concepts found. Intervals are over prompts.",
        "Agreement by concept": _figure(result),
        "Table": result.table,
    }
    return write_page(path, f"Do {first['model']} and {second['model']} have the same features?", parts)


def _figure(result: AgreementResult) -> go.Figure:
    table, plot = result.table, figure(height=140 + 40 * len(result.table))
    for name, colour, low, high in (
        ("control", QUIET, "control_low", "control_high"), ("agreement", COLOURS[0], "low", "high"),
    ):  # fmt: skip
        value = table[name]
        plot.add_scatter(
            x=value, y=table["concept"], name=name, mode="markers", marker={"size": 10, "color": colour},
            error_x={
                "type": "data", "symmetric": False, "array": table[high] - value, "arrayminus": value - table[low],
            },
        )  # fmt: skip
    plot.update_xaxes(title_text="Pearson's r of matched features over prompts", range=[-1.05, 1.05])
    return plot.update_yaxes(autorange="reversed", showgrid=False)
