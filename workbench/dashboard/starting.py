"""Starts the job that a form asks for and follows it: the callbacks that all pages with a form share.

Each such page has the same ids for its job, clock, status, result and stop button; only one page is there at a time.
"""

from collections.abc import Callable
from typing import Any

import dash
from dash import Input, Output, State

from saes.errors import WorkbenchError
from workbench.dashboard.asking import Picture, Words, Work, edits_asked, picture_asked, words_asked
from workbench.dashboard.bench import Bench, Beside, Outcome
from workbench.dashboard.library import Library
from workbench.dashboard.pages.bench import outcome
from workbench.dashboard.pages.edits import beside
from workbench.dashboard.pages.picture import seen as seen_picture
from workbench.dashboard.pages.running import status
from workbench.dashboard.pages.words import fired
from workbench.dashboard.parts import problem

STARTED = tuple(
    Output(id, name, allow_duplicate=True)
    for id, name in (("job", "data"), ("status", "children"), ("tick", "disabled"), ("stop", "disabled"))
)


def add_starting(app: dash.Dash, bench: Bench) -> None:
    """Connects the forms of a prompt, a picture and two edits, and the clock of all jobs.

    Args:
        app: The application.
        bench: Does the work.
    """

    def starts(button: str, asked: Callable[..., Work], *fields: State) -> None:
        app.callback(*STARTED, Input(button, "n_clicks"), *fields, prevent_initial_call=True)(
            lambda _, *form: started(bench, lambda: asked(bench, *form))
        )

    starts("fire", words_asked, State("words-sae", "value"), State("words-prompt", "value"))
    starts(
        "see", picture_asked, State("picture-sae", "value"), State("picture-file", "contents"),
        State("picture-timestep", "value"), State("picture-prompt", "value"), State("picture-seed", "value"),
    )  # fmt: skip
    starts("compare", edits_asked, *(State(f"edits-{name}", "value") for name in ("one", "other", "prompts", "seeds")))
    app.callback(Output("picture-name", "children"), Input("picture-file", "filename"))(lambda name: name or "")

    @app.callback(
        Output("status", "children", allow_duplicate=True), Output("pictures", "children"),
        Output("tick", "disabled", allow_duplicate=True), Output("stop", "disabled", allow_duplicate=True),
        Input("tick", "n_intervals"), State("job", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def look(_: int, job: str | None) -> tuple[Any, Any, bool, bool]:
        return seen(bench, job)

    @app.callback(Input("stop", "n_clicks"), State("job", "data"), prevent_initial_call=True)
    def stop(_: int, job: str | None) -> None:
        bench.jobs.stop(job)


def started(bench: Bench, asked: Callable[[], Work]) -> tuple[Any, Any, bool, bool]:
    """Starts what a form asks for. A wrong form starts nothing.

    Args:
        bench: Does the work.
        asked: Reads the form.

    Returns:
        The job's id, its status, and whether the clock and the stop button are off.
    """
    try:
        job = bench.jobs.submit(asked())
    except WorkbenchError as error:
        return dash.no_update, problem(error), True, True
    return job, status(bench.jobs.look(job)), False, False


def seen(bench: Bench, id: str | None) -> tuple[Any, Any, bool, bool]:
    """What can be seen of a job.

    Args:
        bench: Has the jobs.
        id: The job's.

    Returns:
        Its status; its result once it is done; and whether the clock and the stop button are off.
    """
    job = bench.jobs.look(id)
    if job is None:
        return status(None), dash.no_update, True, True
    result = shown(bench.library, job.result) if job.result else dash.no_update
    return status(job), result, job.is_over, job.is_over


def shown(library: Library, result: Outcome | Words | Picture | Beside) -> list[Any]:
    """What a job found, as components.

    Args:
        library: Knows what features are called.
        result: Of any page with a form.

    Returns:
        Components.
    """
    if isinstance(result, Outcome):
        return outcome(result)
    if isinstance(result, Words):
        return fired(library, result)
    return seen_picture(library, result) if isinstance(result, Picture) else beside(result)
