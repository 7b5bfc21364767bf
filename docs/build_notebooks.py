"""Executes the notebooks and writes them with their figures as pages that open offline.

    python docs/build_notebooks.py [STEM …]

Each runs from clean in a new kernel, in a folder of its own, and becomes docs/notebooks/STEM.html; plotly.js lies
beside them once. They are minutes of work and some megabytes, so git keeps what makes them, and not them. Needs the
extra `dev`.
"""

import json
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import plotly.io
from markdown_it import MarkdownIt
from nbclient import NotebookClient
from plotly.offline import get_plotlyjs

from saes.disk import replacing

ROOT = Path(__file__).parents[1]
OUT, STYLE = ROOT / "docs" / "notebooks", ROOT / "workbench" / "reports" / "templates" / "style.css"
FIGURE = "application/vnd.plotly.v1+json"
OWN = (
    "main{max-width:1000px;margin:0 auto;padding:40px 20px}h2::before{content:none}"
    ".dataframe td,.dataframe th{padding:2px 9px}"
)
FRAME = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style><script src="plotly.js"></script></head>
<body><main>
{body}
</main></body>
</html>
"""


def page(notebook: Any, title: str) -> str:
    """A notebook as HTML: text, code, and what the cells gave.

    Args:
        notebook: As nbformat reads it, executed or not.
        title: Of the page.

    Returns:
        A whole page, which loads plotly.js from its own folder and nothing else.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(markdown.render(cell.source))
        elif cell.cell_type == "code":
            outputs = "".join(map(shown, cell.outputs))
            parts.append(f"<details open><summary>code</summary><pre>{escape(cell.source)}</pre></details>{outputs}")
    return FRAME.format(title=escape(title), style=STYLE.read_text(encoding="utf-8") + OWN, body="\n".join(parts))


def shown(output: Mapping[str, Any]) -> str:
    """What a cell gave, as HTML: a figure, a table, or text. What was written on the error stream is left out.

    Args:
        output: Of nbformat.

    Returns:
        HTML that scrolls where it is wide.
    """
    if output["output_type"] == "stream":
        return f"<pre>{escape(output['text'])}</pre>" if output["name"] == "stdout" else ""
    data = output.get("data", {})
    if FIGURE in data:
        figure = plotly.io.from_json(json.dumps(data[FIGURE]), skip_invalid=True)
        return f'<div class="wide">{figure.to_html(full_html=False, include_plotlyjs=False)}</div>'
    if "text/html" in data:
        return f'<div class="wide">{data["text/html"]}</div>'
    return f"<pre>{escape(data['text/plain'])}</pre>" if "text/plain" in data else ""


def build(path: Path, out: Path = OUT) -> Path:
    """Executes a notebook and writes its page.

    Args:
        path: The notebook; it stays as it is.
        out: The folder of the page.

    Returns:
        The page.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("plotly.js", get_plotlyjs()), (f"{path.stem}.html", page(notebook, path.stem))):
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return out / f"{path.stem}.html"


def main() -> None:
    """Builds the notebooks that are named, or all."""
    wanted = sys.argv[1:]
    found = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if not wanted or path.stem in wanted]
    if not found or len(found) < len(wanted):
        sys.exit(f"There are {', '.join(path.stem for path in sorted((ROOT / 'notebooks').glob('*.ipynb')))}.")
    for path in found:
        made = build(path)
        print(f"{made}: {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
