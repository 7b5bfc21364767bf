"""Parts of the pages that start a job: a field, the buttons, and the place where its status and its result appear."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.bench import BEFORE, Pictures, distances
from workbench.dashboard.jobs import Job
from workbench.reports.sheets import data_uri


def field(label: str, content: Component) -> Component:
    """A field with what it is called.

    Args:
        label: The name.
        content: The field.

    Returns:
        A component.
    """
    return html.Label([html.Span(label), content], className="field")


def text(id: str, value: str) -> Component:
    """A field of one line.

    Args:
        id: Its id.
        value: What it holds.

    Returns:
        A component.
    """
    return dcc.Input(id=id, type="text", value=value, autoComplete="off")


def buttons(id: str, words: str) -> Component:
    """The button that starts a job, and the one that stops it.

    Args:
        id: Of the first.
        words: On the first.

    Returns:
        A component.
    """
    return html.Div(
        [
            html.Button(words, id=id, className="button main"),
            html.Button("Stop", id="stop", className="button", disabled=True),
        ],
        className="below",
    )


def running() -> list[Component]:
    """What a page needs to follow its job.

    Returns:
        Components without a look.
    """
    return [dcc.Store(id="job"), dcc.Interval(id="tick", interval=400, disabled=True)]


def results() -> list[Component]:
    """Where the status of the job and its result appear.

    Returns:
        Components.
    """
    return [html.Div(status(None), id="status", **spoken()), html.Div(id="pictures")]


def spoken() -> dict[str, Any]:
    """What lets a screen reader hear of a change.

    Returns:
        Attributes.
    """
    return {"role": "status", "aria-live": "polite"}


def status(job: Job[Any] | None) -> list[Component]:
    """How far a job is, or what became of it.

    Args:
        job: The job; None if there is none yet.

    Returns:
        Components; none once it is done.
    """
    if job is None:
        return [html.P("Nothing asked yet.", className="none")]
    if job.state in ("failed", "stopped"):
        return [html.P(job.message, className="problem" if job.state == "failed" else "none")]
    if job.state == "done":
        return []
    bar: dict[str, Any] = {"value": f"{job.share:.3f}", "max": "1"}
    return [html.P([html.Progress(**bar), html.Span(job.message)], className="progress")]


def sheet(pairs: Sequence[tuple[str, int]], pictures: Mapping[str, Pictures]) -> Component:
    """Pictures, a row a condition, each with how far it is from the unedited one.

    Args:
        pairs: The prompt and the seed of each column.
        pictures: By condition.

    Returns:
        A component.
    """
    columns = {"gridTemplateColumns": f"92px repeat({len(pairs)}, minmax(84px, 150px))"}
    cells: list[Component] = [html.Span()]
    cells += [html.Span([prompt, html.Small(f"seed {seed}")], className="prompt") for prompt, seed in pairs]
    for condition, own in pictures.items():
        cells.append(html.Span([condition, html.Small(_moved(pictures, condition))], className="name"))
        for (prompt, seed), picture in zip(pairs, own, strict=True):
            cells.append(html.Img(src=data_uri(picture), alt=f"{condition}: “{prompt}”, seed {seed}"))
    return html.Div(html.Div(cells, className="sheet", style=columns), className="wide")


def _moved(pictures: Mapping[str, Pictures], condition: str) -> str:
    if condition == BEFORE:
        return ""
    values = distances(pictures, condition)
    return f"moved by {sum(values) / len(values):.1f}"
