"""A page of figures and tables: one HTML file that opens offline."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from saes.disk import replacing

STYLE = (
    "body{font-family:sans-serif;max-width:1100px;margin:2em auto;padding:0 16px;overflow-wrap:anywhere}"
    "table{font-size:12px;overflow-wrap:normal}p{max-width:50em}.wide{overflow-x:auto}"
)
VIEW = '<meta name="viewport" content="width=device-width, initial-scale=1">'


def write_page(path: Path | str, title: str, parts: Mapping[str, go.Figure | pd.DataFrame | str]) -> Path:
    """Writes a page of parts, each below its heading.

    Args:
        path: The HTML file.
        title: Of the page.
        parts: Heading → a figure, a table, or a paragraph of plain text.

    Returns:
        The path.

    Raises:
        WorkbenchError: The file cannot be written.
    """
    first, shown = True, []
    for heading, part in parts.items():
        if isinstance(part, go.Figure):
            body, first = part.to_html(full_html=False, include_plotlyjs=first), False
        elif isinstance(part, pd.DataFrame):
            body = part.to_html(index=False, float_format="{:.4g}".format)
        else:
            body = f"<p>{escape(part)}</p>"
        shown.append(f'<h2>{escape(heading)}</h2><div class="wide">{body}</div>')
    head = f'<!doctype html><meta charset="utf-8">{VIEW}<title>{escape(title)}</title><style>{STYLE}</style>'
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n".join([head, f"<h1>{escape(title)}</h1>", *shown]), encoding="utf-8")
    return Path(path)
