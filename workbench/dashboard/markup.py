"""Components as HTML text, so that a page of the live dashboard is also a page that opens from disk."""

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from dash.development.base_component import Component

VOID = ("img", "br", "hr")
LINK, GRAPH = "Link", "Graph"
RENAMED = {"className": "class", "htmlFor": "for", "colSpan": "colspan", "rowSpan": "rowspan"}

Relink = Callable[[str], str | None]  # an address of the live dashboard → one of the copy, None where it has none


def markup(part: Any, relink: Relink) -> str:
    """The HTML of components. Links without a place in the copy are left out.

    Args:
        part: A component, a text, a number, or a list of these.
        relink: An address of the live dashboard → one of the copy, None where it has none.

    Returns:
        HTML in which every text is escaped.
    """
    if part is None:
        return ""
    if isinstance(part, list | tuple):
        return "".join(markup(one, relink) for one in part)
    if not isinstance(part, Component):
        return escape(str(part))
    described = part.to_plotly_json()
    name, props = described["type"], dict(described["props"])
    if name == GRAPH:
        return _graph(props)
    if name == LINK:
        href = relink(props["href"])
        return "" if href is None else _tag("a", {**props, "href": href}, relink)
    return _tag(name.lower(), props, relink)


def _tag(name: str, props: Mapping[str, Any], relink: Relink) -> str:
    attributes = "".join(_attribute(key, value) for key, value in props.items() if key != "children")
    if name in VOID:
        return f"<{name}{attributes}>"
    return f"<{name}{attributes}>{markup(props.get('children'), relink)}</{name}>"


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False or value == "":
        return ""
    if value is True:
        return f" {name}"
    if name == "style":
        value = ";".join(f"{_dashed(key)}:{one}" for key, one in value.items())
    return f' {RENAMED.get(name, name)}="{escape(str(value))}"'


def _dashed(name: str) -> str:
    """gridTemplateColumns → grid-template-columns."""
    return re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", name)


def _graph(props: Mapping[str, Any]) -> str:
    return props["figure"].to_html(full_html=False, include_plotlyjs=False, config=props.get("config"))
