"""A copy of the dashboard that opens from disk: every feature and every concept, and a search over all of them.

index.html, concepts.html, concept/<name>.html, sae/<name>/<number>.html
index.js        the features that index.html searches
style.css, plotly.js, copy.js
"""

import json
import math
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from dash.development.base_component import Component
from plotly.offline import get_plotlyjs

from saes.disk import new_folder
from saes.progress import SILENT, Progress
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address, feature_link, read_address
from workbench.dashboard.markup import markup
from workbench.dashboard.pages import page
from workbench.dashboard.style import STATIC, style

COPY_SCRIPT = STATIC / "copy.js"
INDEX, CONCEPTS = "index.html", "concepts.html"
FRAME = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="{up}style.css">{scripts}</head>
<body><header class="bar"><nav aria-label="Pages"><a href="{up}index.html">Features</a>
<a href="{up}concepts.html">Concepts</a></nav></header>
<main>{body}</main></body>
</html>
"""
SEARCH = """<h1>Features</h1><p class="byline" id="found"></p>
<input id="search" type="search" autofocus placeholder="Search a number, name, word or concept" aria-label="Search">
<div id="results"></div><script src="index.js"></script><script src="copy.js"></script>"""


class Page(NamedTuple):
    """A file of the copy, and the address that it copies."""

    path: str
    title: str
    address: Address


def export(library: Library, path: Path | str, *, progress: Progress = SILENT) -> Path:
    """Writes the copy into a new folder, whole or not at all. The bench is not in it: it needs a model.

    Args:
        library: What the pages read.
        path: The folder.
        progress: Shows the pages.

    Returns:
        The folder.

    Raises:
        WorkbenchError: It exists, or cannot be written.
    """
    with new_folder(path) as folder:
        (folder / "style.css").write_text(style(), encoding="utf-8")
        (folder / "plotly.js").write_text(get_plotlyjs(), encoding="utf-8")
        (folder / "copy.js").write_text(COPY_SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "index.js").write_text(f"window.FEATURES = {json.dumps(entries(library))};\n", encoding="utf-8")
        (folder / INDEX).write_text(_framed("Features", SEARCH, ""), encoding="utf-8")
        for one in progress(list(pages(library)), "pages"):
            _write(folder / one.path, one, page(library, one.address))
    return Path(path)


def pages(library: Library) -> Iterator[Page]:
    """Every page of the copy but the first.

    Args:
        library: What the pages read.

    Yields:
        The concepts, then the features.
    """
    yield Page(CONCEPTS, "Concepts", Address("concepts"))
    for concept in library.concepts:
        address = Address("concept", concept=concept.name)
        yield Page(file_of(address), concept.name, address)
    for sae, cache in library.caches.items():
        for feature in range(cache.d_sae):
            address = Address("feature", sae=sae, feature=feature)
            yield Page(file_of(address), f"{feature} {library.label(sae, feature)}", address)


def entries(library: Library) -> list[list[Any]]:
    """What index.html searches.

    Args:
        library: What the pages read.

    Returns:
        A list a feature: file, SAE, number, label, words, concept, AUC (None: not known), density.
    """
    return [
        [
            file_of(read_address(feature_link(row.sae, row.feature), "")), row.sae, row.feature,
            library.label(row.sae, row.feature), row.words, row.concept,
            None if math.isnan(row.auc) else round(row.auc, 3), round(row.density, 6),
        ]
        for row in library.index.itertuples()
    ]  # fmt: skip


def file_of(address: Address) -> str:
    """The file of an address in the copy.

    Args:
        address: Of the live dashboard.

    Returns:
        A path in the copy; "" for the bench, which has none.
    """
    if address.kind == "feature":
        return f"sae/{_slug(address.sae)}/{address.feature}.html"
    if address.kind == "concept":
        return f"concept/{_slug(address.concept)}.html"
    return {"browse": INDEX, "concepts": CONCEPTS}.get(address.kind, "")


def _write(path: Path, one: Page, components: list[Component]) -> None:
    here = Path(one.path).parent

    def relink(href: str) -> str | None:
        target = file_of(read_address(*href.partition("?")[::2]))
        return os.path.relpath(target, here) if target else None

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_framed(one.title, markup(components, relink), "../" * len(here.parts)), encoding="utf-8")


def _framed(title: str, body: str, up: str) -> str:
    """A whole page; only one with figures loads what draws them."""
    scripts = f'<script src="{up}plotly.js"></script>' if "plotly-graph-div" in body else ""
    return FRAME.format(title=escape(title), up=up, scripts=scripts, body=body)


def _slug(name: str) -> str:
    """A name as a part of a path, different for different names."""
    return re.sub(r"[^\w.-]", lambda sign: f"~{ord(sign[0]):x}", name)
