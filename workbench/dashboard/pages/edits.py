"""The page of two edits, side by side at equal prompts and seeds."""

from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.bench import Beside
from workbench.dashboard.known_edits import known_edits
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address
from workbench.dashboard.pages.running import buttons, field, results, running, sheet, text


def edits_page(library: Library, address: Address) -> list[Component]:
    """A form for two edits.

    Args:
        library: Has the run.
        address: May name a prompt.

    Returns:
        Components.
    """
    names = list(known_edits(library.run))
    head = [html.H1("Edits"), html.P("Two edits side by side, at equal prompts and seeds.", className="byline")]
    if len(names) < 2:
        said = f"Here {'is one edit' if names else 'are no edits'}, and two are compared: save some from the bench."
        return [*head, html.P(said)]
    prompt = address.prompt or library.prompts[0].prompt
    form = [
        field("One", dcc.Dropdown(names, names[0], id="edits-one", clearable=False)),
        field("Other", dcc.Dropdown(names, names[1], id="edits-other", clearable=False)),
        field("Prompts, one a line", dcc.Textarea(id="edits-prompts", value=prompt, rows=3)),
        field("Seeds", text("edits-seeds", "0-3")),
        buttons("compare", "Generate"),
    ]
    parts = [html.Section(form, className="form"), html.Section(results())]
    return [*head, html.Div(parts, className="bench"), *running()]


def beside(found: Beside) -> list[Component]:
    """The pictures without an edit and with each.

    Args:
        found: What a job made.

    Returns:
        Components.
    """
    said = "Moved by: the mean distance of a pixel from the unedited picture, in grey levels of 255."
    return [sheet(found.request.pairs, found.pictures), html.P(said, className="hint")]
