"""The list of features: what was searched for, how it is sorted, and a page of cards."""

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.evidence import evidence
from workbench.dashboard.library import Library
from workbench.dashboard.links import SORTS, Address, browse_link, concept_link, feature_link
from workbench.dashboard.parts import labelled, percent
from workbench.dashboard.searching import Found, search

SORT_WORDS = {"match": "best match", "number": "number", "density": "density", "score": "concept score"}
ON_TILE = {(True, False): 3, (False, True): 4, (True, True): 2}  # on a small card: prompts, pictures, or both


def browse_page(library: Library, address: Address) -> list[Component]:
    """The features that match an address, a page of them.

    Args:
        library: What the pages read.
        address: What is searched for, and how it is sorted.

    Returns:
        Components.

    Raises:
        WorkbenchError: The SAE of the address is unknown.
    """
    if address.sae:
        library.cache(address.sae)
    found = search(library.index, address.query, address.sae, address.sort, address.page)
    concept = [c.name for c in library.concepts if c.name.casefold() == address.query.strip().casefold()]
    return [
        html.H1(f"Features for “{address.query}”" if address.query else "Features"),
        html.P(_said(library, found), className="byline", id="found"),
        *(html.P(["It is a concept: ", dcc.Link(f"all about {name}", href=concept_link(name))]) for name in concept),
        html.Div([_saes(library, address), _sorts(address)], className="filters"),
        html.Div([tile(library, row) for row in found.rows.itertuples()], className="tiles"),
        _pager(address, found),
    ]


def _said(library: Library, found: Found) -> str:
    n = len(library.caches)
    where = f"{len(library.index):,} features of {n} autoencoder{'s' * (n > 1)}"
    if not found.total:
        return f"None of the {where} has this number, name, word or concept."
    return f"{found.total:,} of {where}" if found.total < len(library.index) else f"All {where}"


def _saes(library: Library, address: Address) -> Component:
    names = {"": "all", **{name: name for name in library.caches}}
    links = [
        _choice(text, browse_link(address.query, sae, address.sort), sae == address.sae) for sae, text in names.items()
    ]
    return labelled("Autoencoder", [html.Span("Autoencoder"), *links], "choices")


def _sorts(address: Address) -> Component:
    links = [
        _choice(SORT_WORDS[sort], browse_link(address.query, address.sae, sort), sort == address.sort) for sort in SORTS
    ]
    return labelled("Order", [html.Span("Sorted by"), *links], "choices")


def _choice(text: str, href: str, chosen: bool) -> Component:
    return dcc.Link(text, href=href, className="chosen" if chosen else "")


def tile(library: Library, row: Any) -> Component:
    """A small card that is one link.

    Args:
        library: What the pages read.
        row: Of `Library.index`.

    Returns:
        A component.
    """
    cache, feature = library.cache(row.sae), int(row.feature)
    told = f"{row.concept}, AUC {row.auc:.2f}" if row.concept else "no concept"
    return dcc.Link(
        [
            html.Div([html.B(f"{feature}"), html.Span(library.label(row.sae, feature), className="label")]),
            evidence(cache, feature, ON_TILE[cache.n_tokens > 0, cache.draws]),
            html.Div(
                [
                    html.Span(row.sae),
                    html.Span(told),
                    html.Span(percent(row.density) if row.density else "never fires"),
                ],
                className="facts-line",
            ),
        ],
        href=feature_link(row.sae, feature),
        className="tile",
    )


def _pager(address: Address, found: Found) -> Component:
    def link(text: str, page: int) -> Component:
        if not 1 <= page <= found.pages:
            return html.Span(text, className="off")
        return dcc.Link(text, href=browse_link(address.query, address.sae, address.sort, page))

    middle = html.Span(f"page {found.page} of {found.pages}")
    return labelled("Pages", [link("← previous", found.page - 1), middle, link("next →", found.page + 1)], "pager")
