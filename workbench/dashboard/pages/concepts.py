"""The pages of concepts: a list of them, and for each the features that tell it from everything else."""

from typing import Any

import pandas as pd
from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.evidence import evidence
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address, bench_link, browse_link, concept_link
from workbench.dashboard.parts import Content, feature_name, percent, table
from workbench.dashboard.prompts import names_concept

SHOWN, TO_BENCH = 12, 5


def concepts_page(library: Library, address: Address) -> list[Component]:
    """All concepts, with the best feature of each autoencoder.

    Args:
        library: What the pages read.
        address: Says no more than that.

    Returns:
        Components.
    """
    rows = [
        [
            dcc.Link(concept.name, href=concept_link(concept.name), className="row"),
            *(_best(library, sae, concept.name) for sae in library.caches),
        ]
        for concept in library.concepts
    ]
    said = "For each autoencoder, the feature that tells the concept best from all other prompts, and its AUC."
    heads = ["concept", *library.caches]
    return [html.H1("Concepts"), html.P(said, className="byline"), table(heads, rows, range(len(heads)), "wide-rows")]


def features_of(library: Library, sae: str, concept: str) -> pd.DataFrame:
    """The features of one SAE that fire more on a concept's prompts than on others, as ItD would rank them.

    Args:
        library: What the pages read.
        sae: The SAE's name on the dashboard.
        concept: The concept's name.

    Returns:
        Rows of the cache's `concepts`.
    """
    rows = library.cache(sae).concepts
    return rows[rows["concept"] == concept]


def _best(library: Library, sae: str, concept: str) -> Content:
    rows = features_of(library, sae, concept).sort_values(["auc", "target_mean"], ascending=False)
    if rows.empty:
        return "none"
    best = rows.iloc[0]
    return [feature_name(library, sae, int(best["feature"])), html.Span(f"{best['auc']:.2f}", className="number")]


def concept_page(library: Library, address: Address) -> list[Component]:
    """One concept.

    Args:
        library: What the pages read.
        address: Which.

    Returns:
        Components.

    Raises:
        WorkbenchError: The dashboard does not know the concept.
    """
    concept = library.concept(address.concept)
    inside, outside = names_concept(library.prompts, concept)
    synonyms = [f"also {', '.join(concept.synonyms)}"] if concept.synonyms else []
    counts = f"{len(inside)} prompts name it, {len(outside)} are about something else"
    prompt = library.prompts[inside[0]].prompt if inside else ""
    return [
        html.H1(concept.name),
        html.P(" · ".join([concept.kind, *synonyms, counts]), className="byline"),
        *(part for sae in library.caches for part in _of_sae(library, sae, concept.name, prompt)),
        html.P(dcc.Link(f"Search all features for “{concept.name}”", href=browse_link(concept.name))),
    ]


def _of_sae(library: Library, sae: str, concept: str, prompt: str) -> list[Component]:
    rows = features_of(library, sae, concept)
    if rows.empty:
        return [html.H2(sae), html.P("No feature fires more on its prompts than on others.", className="none")]
    chosen = rows["feature"].head(TO_BENCH).tolist()
    words = f"Turn the first {len(chosen)} off on the bench" if len(chosen) > 1 else "Turn it off on the bench"
    bench = dcc.Link(words, href=bench_link(sae, chosen, prompt), className="button")
    count = html.Span(f"{len(rows)} fire more on its prompts than on others.", className="hint")
    heads = ("feature", "AUC", "mean on its prompts", "fires on", "on others", "fires most on")
    body = [_row(library, sae, row) for row in rows.head(SHOWN).itertuples()]
    return [html.H2(sae), table(heads, body, (0, 5)), html.P([bench, count], className="below")]


def _row(library: Library, sae: str, row: Any) -> list[Content]:
    feature = int(row.feature)
    return [
        feature_name(library, sae, feature, "row"),
        f"{row.auc:.3f}",
        f"{row.target_mean:.3g}",
        percent(row.target_share),
        percent(row.retain_share),
        evidence(library.cache(sae), feature, 1),
    ]
