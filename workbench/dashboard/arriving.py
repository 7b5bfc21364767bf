"""What arrives while pages are read: how far the looking is, what has to be chosen, and the page anew."""

from collections.abc import Callable, Sequence
from typing import Any

import dash
from dash import ALL, Input, Output, State, dcc, html
from dash.development.base_component import Component

from workbench.dashboard.bench import Bench
from workbench.dashboard.filling import Choice, Look
from workbench.dashboard.links import read_address
from workbench.dashboard.pages import COMING, FORMS
from workbench.progress import duration

Shown = Callable[[str | None, str | None], list[Any]]  # the page at an address


def arriving_parts(bench: Bench) -> list[Component]:
    """What the callbacks need on every page.

    Args:
        bench: Knows how far the looking is.

    Returns:
        Components.
    """
    attributes: dict[str, Any] = {"role": "status", "aria-live": "polite"}
    return [
        html.Div(said(bench.filling.look), id="arriving", className="arriving", **attributes),
        dcc.Interval(id="arriving-tick", interval=1000, disabled=bench.filling.look.is_over),
        dcc.Store(id="version", data=bench.library.version),
    ]


def add_arriving(app: dash.Dash, bench: Bench, shown: Shown) -> None:
    """Connects `arriving_parts` to the looking.

    Args:
        app: The application.
        bench: Does it.
        shown: Makes a page.
    """

    @app.callback(
        Output("arriving", "children"), Output("arriving-tick", "disabled"), Output("version", "data"),
        Input("arriving-tick", "n_intervals"), State("version", "data"),
    )  # fmt: skip
    def look(_: int | None, version: int) -> tuple[Any, bool, Any]:
        return looked(bench, version)

    @app.callback(
        Output("arriving", "children", allow_duplicate=True), Output("arriving-tick", "disabled", allow_duplicate=True),
        Input({"choose": ALL}, "n_clicks"), prevent_initial_call=True,
    )  # fmt: skip
    def choose(clicks: Sequence[int | None]) -> tuple[Any, Any]:
        return chosen(bench, dash.ctx.triggered_id, clicks)

    @app.callback(
        Output("page", "children", allow_duplicate=True), Input("version", "data"),
        State("address", "pathname"), State("address", "search"), State("page", "children"), prevent_initial_call=True,
    )  # fmt: skip
    def renew(_: int, pathname: str | None, search: str | None, children: Any) -> Any:
        keeps = read_address(pathname, search).kind in FORMS and not _is_coming(children)
        return dash.no_update if keeps else shown(pathname, search)


def looked(bench: Bench, version: int) -> tuple[Any, bool, Any]:
    """How far the looking is.

    Args:
        bench: Does it.
        version: Of the library that the browser shows.

    Returns:
        What is said; whether nothing changes until somebody chooses; and the new version, or Dash's sign for no change.
    """
    now, look = bench.library.version, bench.filling.look
    return said(look), look.is_over or look.choice is not None, now if now != version else dash.no_update


def chosen(bench: Bench, trigger: Any, clicks: Sequence[int | None]) -> tuple[Any, Any]:
    """Draws as many pictures as were chosen.

    Args:
        bench: Draws them.
        trigger: The id of the button.
        clicks: How often each was clicked.

    Returns:
        What is said, and that there is something to look at; Dash's signs for no change where nothing was clicked.
    """
    if not any(clicks):  # new buttons report themselves without a click
        return dash.no_update, dash.no_update
    bench.filling.choose(int(trigger["choose"]))
    bench.fill()
    return said(Look("Beginning.")), False


def said(look: Look) -> list[Component]:
    """How far the looking is, in words.

    Args:
        look: The present one.

    Returns:
        Components; none once it is over.
    """
    if look.problem:
        return [html.P(look.problem, className="problem")]
    if look.choice:
        return _asked(look.choice)
    if look.is_over:
        return []
    left = f", about {duration(look.left)} left" if look.left else ""
    bar: dict[str, Any] = {"value": f"{look.share:.3f}", "max": "1"}
    return [html.P([html.Progress(**bar), html.Span(f"{look.message}{left}")], className="progress")]


def _asked(choice: Choice) -> list[Component]:
    size = f"{choice.bytes / 1e9:.1f} GB" if choice.bytes >= 1e8 else f"{max(choice.bytes / 1e6, 1):.0f} MB"
    names = ", ".join(choice.saes)
    question = (
        f"The features of {names} were looked at on {choice.done:,} pictures. Draw more, to have"
        if choice.done
        else f"To see what the features of {names} fire on, pictures are drawn. One takes about "
        f"{duration(choice.each)} here, and what is kept of them {size} on the disk. How many?"
    )
    buttons = [
        html.Button(f"{n:,} ({duration(seconds)})", id={"choose": n}, className="button")
        for n, seconds in choice.seconds.items()
    ]
    return [html.P([html.Span(question), *buttons], className="progress")]


def _is_coming(children: Any) -> bool:
    return bool(children) and children[0].get("props", {}).get("id") == COMING
