"""Parts that several pages are made of."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from dash import dcc, html
from dash.development.base_component import Component

from saes.errors import WorkbenchError
from workbench.dashboard.library import Library
from workbench.dashboard.links import feature_link

Content = Any  # a component, a text, or a list of both


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Content]], left: Sequence[int] = (0,), kind: str = ""
) -> Component:
    """A table as in the reports; numbers to the right.

    Args:
        heads: Of the columns.
        rows: A cell for each column.
        left: The columns that go to the left.
        kind: More classes of its style.

    Returns:
        A component.
    """
    sides = ["left" if column in left else "" for column in range(len(heads))]
    head = [html.Th(text, className=side) for text, side in zip(heads, sides, strict=True)]
    body = [html.Tr([html.Td(cell, className=side) for cell, side in zip(row, sides, strict=True)]) for row in rows]
    whole = html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className=f"results {kind}".strip())
    return html.Div(whole, className="wide")


def feature_name(library: Library, sae: str, feature: int, kind: str = "") -> Component:
    """A feature by its number and what it is called, as a link to its page.

    Args:
        library: What the pages read.
        sae: The SAE's name on the dashboard.
        feature: Its number.
        kind: Of the kind "row" it can be reached by j and k.

    Returns:
        A component.
    """
    children: list[Any] = [html.B(str(feature)), " ", library.label(sae, feature)]
    return dcc.Link(children, href=feature_link(sae, feature), className=kind)


def labelled(label: str, children: Sequence[Content], kind: str) -> Component:
    """A group of links, with its name for screen readers.

    Args:
        label: The name.
        children: The links.
        kind: The class of its style.

    Returns:
        A component.
    """
    attributes: dict[str, Any] = {"aria-label": label}
    return html.Nav(list(children), className=kind, **attributes)


def chart(plot: go.Figure) -> Component:
    """A figure at its own height, as wide as there is room.

    Args:
        plot: With a height.

    Returns:
        A component.
    """
    config: Any = {"displayModeBar": False, "responsive": True}
    return dcc.Graph(figure=plot, config=config, className="chart", style={"height": f"{plot.layout.height}px"})


def percent(share: float) -> str:
    """A share as a percentage with two digits that count.

    Args:
        share: In [0, 1].

    Returns:
        Such as "93 %", "0.93 %".
    """
    return f"{100 * share:.2g} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def problem(error: WorkbenchError) -> Component:
    """What is wrong and what to do about it.

    Args:
        error: Both sentences.

    Returns:
        A component.
    """
    return html.P(str(error), className="problem")
