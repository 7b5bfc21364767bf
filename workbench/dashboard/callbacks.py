"""The callbacks of the bench: each reads the form, calls one function, and shows what it says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dash
from dash import ALL, MATCH, Input, Output, State

from saes.errors import WorkbenchError
from saes.progress import Progress
from workbench.dashboard.bench import Bench, Outcome
from workbench.dashboard.changes import read_numbers, read_request
from workbench.dashboard.library import Library
from workbench.dashboard.pages.bench import FIELDS, change_row, known_features
from workbench.dashboard.parts import problem
from workbench.dashboard.saving import EDITS, save_edit, save_study
from workbench.dashboard.starting import STARTED, started

FORM = [State({"field": name, "row": ALL}, "value") for name in FIELDS]


def add_callbacks(app: dash.Dash, bench: Bench) -> None:
    """Connects the bench's page to its functions.

    Args:
        app: The application.
        bench: What they act on.
    """
    library = bench.library

    @app.callback(
        Output("changes", "children"), Input("another", "n_clicks"), Input({"remove": ALL}, "n_clicks"),
        State("changes", "children"), prevent_initial_call=True,
    )  # fmt: skip
    def rows(_: int | None, clicks: Sequence[int | None], children: list[Any]) -> Any:
        return changed_rows(library, dash.ctx.triggered_id, clicks, children)

    @app.callback(
        Output({"known": "features", "row": MATCH}, "children"), Output({"known": "window", "row": MATCH}, "hidden"),
        Input({"field": "sae", "row": MATCH}, "value"), Input({"field": "features", "row": MATCH}, "value"),
    )  # fmt: skip
    def known(sae: str, features: str | None) -> tuple[Any, bool]:
        return chosen(library, sae, features)

    @app.callback(
        *STARTED, Input("generate", "n_clicks"), *FORM, State("prompts", "value"), State("seeds", "value"),
        State("control", "value"), prevent_initial_call=True,
    )  # fmt: skip
    def start(_: int, *form: Any) -> tuple[Any, Any, bool, bool]:
        return started(bench, lambda: asked(bench, form))

    @app.callback(Output("keeping", "hidden"), Input("pictures", "children"))
    def keeping(pictures: Any) -> bool:
        return not pictures  # nothing was seen yet

    @app.callback(
        Output("saved", "children"), Input("save-edit", "n_clicks"), Input("save-study", "n_clicks"),
        State("job", "data"), State("name", "value"), State("about", "value"), prevent_initial_call=True,
    )  # fmt: skip
    def save(_: int | None, __: int | None, job: str | None, name: str | None, about: str | None) -> Any:
        if dash.ctx.triggered_id == "save-edit":
            return saved(bench, job, lambda found: save_edit(library, found, name))
        return saved(bench, job, lambda found: save_study(library, found, name, about))


def changed_rows(library: Library, trigger: Any, clicks: Sequence[int | None], children: list[Any]) -> Any:
    """The changes with one more, or without the one whose × was clicked; one always stays.

    Args:
        library: What the pages read.
        trigger: The id of what was clicked.
        clicks: How often each × was.
        children: The rows of the form.

    Returns:
        The new rows, or Dash's sign for no change.
    """
    if trigger == "another":
        last = max((int(child["props"]["id"].rpartition("-")[2]) for child in children), default=-1)
        return [*children, change_row(library, last + 1, next(iter(library.caches)))]
    if not any(clicks) or len(children) == 1:  # a new row's × reports itself without a click
        return dash.no_update
    return [child for child in children if child["props"]["id"] != f"change-{trigger['remove']}"]


def chosen(library: Library, sae: str, features: str | None) -> tuple[Any, bool]:
    """What the chosen features are, and whether a window of timesteps makes no sense for them.

    Args:
        library: What the pages read.
        sae: The chosen one.
        features: What was typed.

    Returns:
        Links, none while it is half typed; and whether the SAE's site knows no timesteps.
    """
    timeless = not library.cache(sae).has_steps
    try:
        return known_features(library, sae, read_numbers(features, "feature")), timeless
    except WorkbenchError:
        return [], timeless  # half typed


def asked(bench: Bench, form: Sequence[Any]) -> Callable[[Progress], Outcome]:
    """The work that the form of the bench asks for.

    Args:
        bench: Makes the pictures.
        form: The values of its fields.

    Returns:
        Gives an `Outcome`.

    Raises:
        WorkbenchError: The form asks for nothing, or for what cannot be.
    """
    *columns, prompts, seeds, control = form
    rows = [dict(zip(FIELDS, row, strict=True)) for row in zip(*columns, strict=True)]
    request = read_request(bench.library, rows, prompts, seeds, bool(control))
    return lambda progress: bench.generate(request, progress)


def saved(bench: Bench, id: str | None, save: Callable[[Outcome], Path]) -> Any:
    """Saves what was seen, and says where, or why not.

    Args:
        bench: Has the jobs.
        id: The job's.
        save: Saves its outcome and gives the place.

    Returns:
        A sentence, or a component with the problem.
    """
    job = bench.jobs.look(id)
    if job is None or job.result is None:
        return problem(
            WorkbenchError("There is nothing to save.", "Generate first: what is saved is what you have seen.")
        )
    try:
        path = save(job.result)
    except WorkbenchError as error:
        return problem(error)
    model = bench.library.run.spec.model.name
    use = (
        f"workbench generate {model} PROMPT --edit {path}"
        if path.parent.name == EDITS
        else f"workbench study run {path}"
    )
    return f"Saved. Use it:  {use}"
