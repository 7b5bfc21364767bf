"""`report`: a run as one HTML file that opens offline, prints well, and says how to repeat it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from jinja2 import meta, nodes
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from saes.disk import replacing
from workbench import figures
from workbench.comparison.published import check_published
from workbench.conditions import UNEDITED
from workbench.erasure import shown
from workbench.evaluation.differences import best_methods, order_effects
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import ALL, concept_matrix, metrics_with_all, titled, verdict_shares
from workbench.figures.evaluation import VERDICT_COLOURS
from workbench.reports.advice import advice, advice_headings
from workbench.reports.attacking import HEADINGS, Attacks, attacks, attacks_named, without_attacks
from workbench.reports.cards import attention_rows, concept_cards, picture_views
from workbench.reports.comparing import order_headings, order_rows, published_rows, ranking
from workbench.reports.costs import costs
from workbench.reports.evidence import Evidence, read_evidence
from workbench.reports.inner import inner
from workbench.reports.reading import conditions, idle, reading
from workbench.reports.references import references
from workbench.reports.sheets import grid, sheets
from workbench.reports.summary import headings, summary_rows

ALONE: dict[str, Any] = {  # what a report of one method has in the place of `_comparison`
    "several": False, "intervals": None, "methods_scatter": None, "grids": {}, "costs": [], "orders": [],
    "order_headings": [], "published": [], "advice": [], "advice_headings": [],
}  # fmt: skip


def report(
    run: Run | Results,
    path: Path | str,
    evidence: Evidence | None = None,
    *,
    judge: str = "",
    title: str = "",
    question: str = "",
) -> Path:
    """Writes the report of a finished run. The page holds plotly once and all images; it loads nothing.

    Args:
        run: The run, or its results.
        path: The HTML file.
        evidence: What only the model can show; left out, what was collected into the run folder, if anything.
        judge: A name of `run.judges`, whose scores are shown; the first if left out.
        title: In the place of the one derived from the run.
        question: In the place of the run's own.

    Returns:
        The path.
    """
    whole = Results.of(run, judge)
    results = without_attacks(whole)
    table, evidence = titled(metrics_with_all(results)), evidence or read_evidence(results.run.dir) or Evidence()
    methods, controls = conditions(results.spec)
    best = titled(best_methods(results)) if len(methods) > 1 else pd.DataFrame()
    attacked = attacks(whole, table, chart)
    context = {
        **_text(results, table, best, title, question),
        **_charts(results, table, evidence),
        **_pictures(results, evidence, attacks_named(whole)),
        "attacks": attacked,
        "attack_headings": HEADINGS,
        **(_comparison(results, table, controls, attacked) if len(methods) > 1 else ALONE),
    }
    return write_report("report.html", context, path)


def _text(results: Results, table: pd.DataFrame, best: pd.DataFrame, title: str, question: str) -> dict[str, Any]:
    spec = results.spec
    words = reading(table[table["concept"] != ALL], spec, ranking(table, best) if len(best) else [])
    words = words._replace(caveats=(*words.caveats, *idle(results.records, results.roles)))
    concepts = list(dict.fromkeys(trial.concept for trial in spec.trials))
    return {
        "title": title or f"Erasing {_short(concepts)} from “{spec.model.name}”",
        "reading": words._replace(question=question or spec.question or words.question),
        "spec": spec, "judge": results.judge, "concepts": concepts, "edits": spec.edits,
        "method_of": {edit.hash: shown(edit.method) for edit in spec.edits},
        "n_fits": max((len(trial.fits(name)) for trial in spec.trials for name in trial.conditions), default=1),
        "headings": headings(table), "rows": summary_rows(table, best), "n_images": len(spec.cells()),
        "roles": results.roles, "verdict_colours": VERDICT_COLOURS, "run_dir": results.run.dir,
    }  # fmt: skip


def _comparison(
    results: Results, table: pd.DataFrame, controls: list[str], attacked: Attacks | None
) -> dict[str, Any]:  # fmt: skip
    """What only a run with several methods shows: what to use when, them side by side, their costs, and the effect of
    an order."""
    effects, spent = titled(order_effects(results)), costs(results)
    first, quiet = table[table["concept"] == table["concept"].iloc[0]], (UNEDITED, *controls)
    return {
        "several": True,
        "intervals": chart("intervals", figures.method_intervals(first, quiet)),
        "methods_scatter": chart("methods-scatter", figures.method_scatter(first, quiet)),
        "grids": {name: grid(results, trial) for name, trial in results.spec.titles.items()},
        "costs": spent,
        "advice": advice(results, spent, attacked.robust if attacked else None), "advice_headings": advice_headings(),
        "orders": order_rows(effects), "order_headings": order_headings(effects),
        "published": published_rows(check_published(results)),
    }  # fmt: skip


def _charts(results: Results, table: pd.DataFrame, evidence: Evidence) -> dict[str, Any]:
    matrix, methods = concept_matrix(results), conditions(results.spec)[0]
    matrix = matrix if matrix.empty else matrix[matrix["condition"].isin(methods)]
    if matrix.empty:  # no prompt names a concept
        matrices = {}
    elif len(methods) > 1 and len(results.spec.trials) == 1:
        matrices = {"All methods": figures.concept_matrix(matrix, rows="condition")}
    else:
        by_method = matrix.groupby("condition", sort=False)
        matrices = {str(name): figures.concept_matrix(own) for name, own in by_method}
    densities = {
        site: figures.density_histogram(density, [card.feature for card in evidence.cards if card.site == site])
        for site, density in evidence.densities.items()
    }
    return {
        "scatter": chart("scatter", figures.efficacy_against_specificity(table[table["concept"] != ALL])),
        "bars": chart("bars", figures.verdict_bars(verdict_shares(results), results.roles)),
        "matrices": {name: chart(f"matrix-{name}", plot) for name, plot in matrices.items()},
        "densities": {site: chart(f"density-{site}", plot) for site, plot in densities.items()},
    }


def _pictures(results: Results, evidence: Evidence, attacks: Sequence[str]) -> dict[str, Any]:
    spec = results.spec
    methods = [edit.method for edit in spec.edits]
    shown = {"several": len(conditions(spec)[0]) > 1, "attention": bool(evidence.attention)}
    return {
        "sheets": {name: sheets(results, trial) for name, trial in spec.titles.items()},
        "cards": concept_cards(evidence.cards),
        "picture_cards": picture_views(evidence.pictures),
        "attention": attention_rows(evidence.attention),
        "saes": evidence.saes,
        "inner": inner(evidence.tables, chart),
        "references": references(methods, **shown, autoencoders=bool(evidence.saes), attacks=attacks),
    }


def write_report(template: str, context: Mapping[str, Any], path: Path | str, *, charts: bool = True) -> Path:
    """Renders a page that holds everything and loads nothing, and writes it.

    Args:
        template: Name of a file in `templates`.
        context: Each name that the template uses, in whatever branch; what a page may lack is None or empty there.
        path: The HTML file.
        charts: Whether it has figures of plotly, which is then a part of the page.

    Returns:
        The path.
    """
    there = environment()
    style = Markup(there.get_template("style.css").render())
    given = {**context, "style": style, "plotly": Markup(get_plotlyjs()) if charts else ""}
    missing = names_used(there, template) - given.keys()
    assert not missing, f"{template} is not told {sorted(missing)}"
    page = there.get_template(template).render(given)
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def names_used(there: jinja2.Environment, template: str) -> set[str]:
    """The names that a template, and all that it extends or includes, takes from its context.

    Args:
        there: Where the templates are.
        template: Name of a file in `templates`.

    Returns:
        Those used in whatever branch.
    """
    assert there.loader is not None
    tree = there.parse(there.loader.get_source(there, template)[0])
    own = {macro.name for macro in tree.find_all(nodes.Macro)}
    own |= {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}  # jinja2 misses some in loops
    used = meta.find_undeclared_variables(tree) - own
    others = [other for other in meta.find_referenced_templates(tree) if other]
    return used.union(*(names_used(there, other) for other in others))


def chart(name: str, plot: go.Figure) -> Markup:
    """A plotly figure as a piece of HTML that uses the page's own plotly and follows the page's width.

    Args:
        name: Unique on the page; its id there.
        plot: The figure.

    Returns:
        HTML.
    """
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    place = re.sub(r"\W", "-", name)
    return Markup(plot.to_html(full_html=False, include_plotlyjs=False, div_id=place, config=config))


def environment() -> jinja2.Environment:
    """Where the templates are; a name that a template uses and nobody gives is an error.

    Returns:
        Jinja's environment, which escapes every text.
    """
    loader = jinja2.PackageLoader("workbench.reports")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _short(concepts: list[str]) -> str:
    return " and ".join(concepts) if len(concepts) < 3 else f"{len(concepts)} concepts"
