"""The live dashboard: one page whose content follows the address. Callbacks only call the functions of other files."""

from pathlib import Path
from typing import Any

import dash
from dash import Input, Output, State, dcc, html

from workbench.dashboard.arriving import add_arriving, arriving_parts
from workbench.dashboard.bench import Bench
from workbench.dashboard.callbacks import add_callbacks
from workbench.dashboard.guarding import guard
from workbench.dashboard.library import Library
from workbench.dashboard.links import browse_link, read_address
from workbench.dashboard.pages import page
from workbench.dashboard.starting import add_starting
from workbench.dashboard.style import style

ASSETS = Path(__file__).parent / "assets"  # what Dash serves by itself
TITLES = {
    "/": "Features", "/concepts": "Concepts", "/words": "Words", "/picture": "Picture", "/bench": "Bench",
    "/edits": "Edits",
}  # fmt: skip


def make_app(bench: Bench) -> dash.Dash:
    """The application of a library and its bench; `server.server_of` serves it. It loads nothing from the network.

    Args:
        bench: Has the library.

    Returns:
        The application.
    """
    app = dash.Dash(
        __name__, assets_folder=str(ASSETS), serve_locally=True, suppress_callback_exceptions=True,
        title="Features", update_title="", index_string=index_page(),
    )  # fmt: skip
    guard(app.server)
    app.layout = lambda: html.Div(
        [
            dcc.Location(id="address", refresh="callback-nav"),
            header(),
            *arriving_parts(bench),
            html.Main(id="page"),
        ],
        id="all",
    )
    app.callback(
        Output("page", "children"), Output("menu", "children"), Input("address", "pathname"), Input("address", "search")
    )(lambda pathname, search: (shown(bench.library, pathname, search), menu(pathname)))
    app.callback(
        Output("address", "pathname"), Output("address", "search"), Input("typed", "data"),
        State("address", "pathname"), State("address", "search"), prevent_initial_call=True,
    )(searched)  # fmt: skip
    app.clientside_callback(dash.ClientsideFunction("dashboard", "follow"), Input("address", "search"))
    add_callbacks(app, bench)
    add_starting(app, bench)
    add_arriving(app, bench, lambda pathname, search: shown(bench.library, pathname, search))
    return app


def index_page() -> str:
    """The frame of every page, with the style of the reports.

    Returns:
        HTML in which Dash puts its parts.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>{{%metas%}}<title>{{%title%}}</title>{{%favicon%}}{{%css%}}<style>{style()}</style></head>
<body>{{%app_entry%}}<footer hidden>{{%config%}}{{%scripts%}}{{%renderer%}}</footer></body>
</html>"""


def header() -> html.Header:
    """What stays on every page: the pages, and the place where keys.js puts the search field.

    Returns:
        A component; the text of the field goes into `typed` after a pause.
    """
    return html.Header([html.Nav(id="menu"), html.Div(id="search-place"), dcc.Store(id="typed")], className="bar")


def menu(pathname: str | None) -> list[Any]:
    """The links to the pages; the present one is marked.

    Args:
        pathname: Of the browser.

    Returns:
        A link for each page.
    """
    return [
        dcc.Link(title, href=href, className="chosen" if (pathname or "/") == href else "")
        for href, title in TITLES.items()
    ]


def shown(library: Library, pathname: str | None, search: str | None) -> list[Any]:
    """The content of the page at an address.

    Args:
        library: What the pages read.
        pathname: Of the browser.
        search: Its query.

    Returns:
        Components.
    """
    return page(library, read_address(pathname, search))


def searched(query: str | None, pathname: str | None, search: str | None) -> tuple[Any, Any]:
    """Where a changed search field leads; nowhere if the address says the same already.

    Args:
        query: What the field holds.
        pathname: Of the browser.
        search: Its query.

    Returns:
        The new path and query, or Dash's sign for no change.
    """
    here = read_address(pathname, search)
    query = (query or "").strip()
    if query == here.query or (not query and here.kind != "browse"):
        return dash.no_update, dash.no_update
    path, _, rest = browse_link(query, here.sae if here.kind == "browse" else "").partition("?")
    return path, f"?{rest}" if rest else ""
