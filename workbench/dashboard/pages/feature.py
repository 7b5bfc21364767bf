"""The page of one feature: how often, on what, with whom, and for which concepts it fires."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.cache import FeatureCache, Related
from workbench.dashboard.evidence import evidence, pictures, spread_pictures, spread_strips, strips
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address, bench_link, concept_link, feature_link
from workbench.dashboard.parts import chart, feature_name, percent, table
from workbench.figures.features import density_histogram
from workbench.figures.template import COLOURS, figure

PROMPTS, CONCEPTS = 8, 8


def feature_page(library: Library, address: Address) -> list[Component]:
    """The card of a feature in full.

    Args:
        library: What the pages read.
        address: Which.

    Returns:
        Components.

    Raises:
        WorkbenchError: The SAE or the feature is not there.
    """
    cache, feature = library.cache(address.sae), address.feature
    cache.check(feature)
    steps = [_step(cache, feature - 1, "← previous"), _step(cache, feature + 1, "next →")]
    main = [_facts(cache, cache.features.iloc[feature]), *_named(library, cache, feature), *_firing(cache, feature)]
    return [
        html.Div(steps, className="beside"),
        html.H1([f"Feature {feature} ", html.Span(library.label(address.sae, feature), className="label")]),
        html.P(_said(library, cache), className="byline"),
        html.Div([html.Section(main), html.Section(_beside(library, cache, feature))], className="feature"),
    ]


def _said(library: Library, cache: FeatureCache) -> str:
    n, of = cache.about["n_prompts"], len(library.prompts)
    so_far = f" · looked at on {n:,} of {of:,} prompts" if n < of else ""
    return f"{cache.source.name} · site {cache.source.site} · {cache.d_sae:,} features{so_far}"


def _step(cache: FeatureCache, feature: int, text: str) -> Component:
    there = 0 <= feature < cache.d_sae
    return dcc.Link(text, href=feature_link(cache.source.name, feature)) if there else html.Span(text, className="off")


def _facts(cache: FeatureCache, row: pd.Series) -> Component:
    rank = int((cache.features["density"] > row["density"]).sum()) + 1
    facts = {
        "density": percent(row["density"]),
        "rank by density": f"{rank:,} of {cache.d_sae:,}",
        "mean where it fires": f"{row['mean_active']:.3g}",
        "largest": f"{row['largest']:.3g}",
    }
    parts = [part for name, value in facts.items() for part in (html.Dt(name), html.Dd(value))]
    return html.Dl(parts, className="facts-row")


def _named(library: Library, cache: FeatureCache, feature: int) -> list[Component]:
    """How well it detects the factor that it is named after."""
    named = library.names.get(cache.source.name, {}).get(feature)
    if named is None or not named.factor:
        return []
    rates = f"precision {percent(named.precision)}, recall {percent(named.recall)}"
    return [html.P(f"Named after {named.factor}, which it detects with {rates}.", className="hint")]


def _firing(cache: FeatureCache, feature: int) -> list[Component]:
    if not len(cache.top(feature).prompts):
        return [html.H2("Prompts it fires on most"), evidence(cache, feature, PROMPTS)]
    parts: list[Component] = []
    if cache.n_tokens:
        lines = html.Div(strips(cache, feature, PROMPTS), className="strips")
        parts += [html.H2("Prompts it fires on most"), lines, *_whole_range(cache, feature, spread_strips)]
    if cache.draws:
        scale: list[Any] = [
            f"Beside each picture: where in it the feature fires{_over(cache)} ",
            html.Span(className="ramp"),
        ]
        parts += [html.H2(_heading(cache)), html.P(scale, className="hint"), pictures(cache, feature, PROMPTS)]
        parts += _whole_range(cache, feature, spread_pictures)
    if cache.has_steps:
        parts += [html.H2("When it fires"), chart(when(cache, feature))]
    return parts


def _whole_range(cache: FeatureCache, feature: int, shown: Callable[[FeatureCache, int], Component]) -> list[Component]:
    """From strong to weak, where there is more than the strongest."""
    if not len(cache.spread(feature).prompts):
        return []
    said = f"Of the {cache.fires_on(feature):,} prompts that it fires on, some drawn at random. "
    said += "The percentage: the share of them on which it fires no stronger."
    return [html.H2("From strong to weak"), html.P(said, className="hint"), shown(cache, feature)]


def _heading(cache: FeatureCache) -> str:
    return "Their pictures" if cache.n_tokens else "Pictures it fires on most"


def _over(cache: FeatureCache) -> str:
    if cache.has_steps:
        return ", as a mean over the steps"
    return ", cell by cell, when the model reads what it has drawn there"


def when(cache: FeatureCache, feature: int) -> go.Figure:
    """The mean activation of a feature over the steps of denoising, from noise to picture.

    Args:
        cache: Of an SAE at a site with timesteps.
        feature: Its number.

    Returns:
        The figure.
    """
    plot = figure(height=220, showlegend=False, margin={"l": 56, "r": 12, "t": 8, "b": 44})
    plot.add_scatter(
        x=cache.about["steps"], y=cache.steps(feature), mode="lines+markers", line={"color": COLOURS[0], "width": 1.6},
        marker={"size": 5}, hovertemplate="timestep %{x:.0f}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(autorange="reversed", title_text="timestep, from noise to picture")
    return plot.update_yaxes(rangemode="tozero", title_text="mean activation")


def _beside(library: Library, cache: FeatureCache, feature: int) -> list[Component]:
    sae, top = cache.source.name, cache.top(feature).prompts
    prompt = cache.prompts["prompt"].iloc[top[0]] if len(top) else ""
    return [
        dcc.Link("Change it on the bench", href=bench_link(sae, [feature], prompt), className="button"),
        html.H2("Concepts"),
        _concepts(cache, feature),
        html.H2("How often, among all"),
        chart(_density(cache, feature)),
        html.H2("Write in the same direction"),
        _related(library, sae, cache.related(feature, "alike"), "cosine of decoder rows"),
        html.H2("Fire on the same places"),
        _related(library, sae, cache.related(feature, "together"), "cosine of activations"),
    ]


def _density(cache: FeatureCache, feature: int) -> go.Figure:
    plot = density_histogram(cache.features["density"].to_numpy(float), [feature])
    plot.update_layout(height=210, margin={"l": 48, "r": 8, "t": 8, "b": 44})
    what = "pixels and steps" if cache.has_steps else "tokens and cells" if cache.draws else "tokens"
    return plot.update_xaxes(title_text=f"share of {what} it fires on (dotted: this one)")


def _concepts(cache: FeatureCache, feature: int) -> Component:
    rows = cache.concepts_of(feature).head(CONCEPTS)
    if rows.empty:
        return html.P("It tells no concept from the other prompts.", className="none")
    body = [
        [
            dcc.Link(row.concept, href=concept_link(row.concept)),
            f"{row.auc:.3f}",
            percent(row.target_share),
            percent(row.retain_share),
        ]
        for row in rows.itertuples()
    ]
    return table(("concept", "AUC", "fires on its prompts", "on others"), body)


def _related(library: Library, sae: str, related: Sequence[Related], unit: str) -> Component:
    if not related:
        return html.P("None.", className="none")
    rows = [
        html.Li(
            [
                feature_name(library, sae, each.feature),
                html.I(style={"width": f"{60 * min(each.value, 1):.0f}px"}),
                html.Span(f"{each.value:.2f}", className="number", title=unit),
            ]
        )
        for each in related
    ]
    return html.Ul(rows, className="related")
