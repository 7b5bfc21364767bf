"""`report`: a run as one HTML file that opens offline, prints well, and says how to repeat it."""

import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from saes.disk import replacing
from workbench import figures
from workbench.edits.conditions import UNEDITED
from workbench.evaluation.differences import best_methods, order_effects
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import ALL, concept_matrix, metrics_with_all, verdict_shares
from workbench.figures.evaluation import ROLES, VERDICT_COLOURS
from workbench.reports.cards import attention_rows, concept_cards
from workbench.reports.comparing import order_headings, order_rows, ranking
from workbench.reports.costs import costs
from workbench.reports.evidence import Evidence, read_evidence
from workbench.reports.inner import inner
from workbench.reports.reading import conditions, idle, reading
from workbench.reports.references import references
from workbench.reports.sheets import grid, sheets
from workbench.reports.summary import headings, summary_rows


def report(
    run: Run, path: Path | str, evidence: Evidence | None = None, *, title: str = "", question: str = ""
) -> Path:
    """Writes the report of a finished run and returns its path.

    Without `evidence`, what was collected into the run folder is shown, if anything. `title` and `question` replace
    those derived from the run. The page holds plotly once and all images; it loads nothing.
    """
    table, evidence = metrics_with_all(run), evidence or read_evidence(run.dir) or Evidence()
    methods, controls = conditions(run.spec)
    best = best_methods(run) if len(methods) > 1 else pd.DataFrame()
    context = {
        **_text(run, table, best, title, question),
        **_charts(run, table, evidence),
        **_pictures(run, evidence),
        **(_comparison(run, table, controls) if len(methods) > 1 else {"several": False}),
        "style": Markup(environment().get_template("style.css").render()),
        "plotly": Markup(get_plotlyjs()),
    }
    page = environment().get_template("report.html").render(context)
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _text(run: Run, table: pd.DataFrame, best: pd.DataFrame, title: str, question: str) -> dict[str, Any]:
    spec = run.spec
    words = reading(table[table["concept"] != ALL], spec, ranking(table, best) if len(best) else [])
    words = words._replace(caveats=(*words.caveats, *idle(run.records())))
    edits = {edit.hash: edit for trial in spec.trials for edit in trial.conditions.values() if edit}
    concepts = list(dict.fromkeys(trial.concept for trial in spec.trials))
    return {
        "title": title or f"Erasing {_short(concepts)} from “{spec.model.name}”",
        "reading": words._replace(question=question or spec.question or words.question),
        "spec": spec, "judge": run.judge, "concepts": concepts, "edits": list(edits.values()),
        "headings": headings(table), "rows": summary_rows(table, best), "n_images": len(spec.cells()),
        "roles": ROLES, "verdict_colours": VERDICT_COLOURS, "run_dir": run.dir,
    }  # fmt: skip


def _comparison(run: Run, table: pd.DataFrame, controls: list[str]) -> dict[str, Any]:
    """What only a run with several methods shows: them side by side, their costs, and the effect of an order."""
    records, effects = run.records(), order_effects(run)
    first, quiet = table[table["concept"] == table["concept"].iloc[0]], (UNEDITED, *controls)
    return {
        "several": True,
        "intervals": chart("intervals", figures.method_intervals(first, quiet)),
        "methods_scatter": chart("methods-scatter", figures.method_scatter(first, quiet)),
        "grids": {trial.concept: grid(run, trial.concept, records) for trial in run.spec.trials},
        "costs": costs(run, records),
        "orders": order_rows(effects), "order_headings": order_headings(effects),
    }  # fmt: skip


def _charts(run: Run, table: pd.DataFrame, evidence: Evidence) -> dict[str, Any]:
    matrix, methods = concept_matrix(run), conditions(run.spec)[0]
    matrix = matrix[matrix["condition"].isin(methods)]
    if len(methods) > 1 and matrix["erased"].nunique() == 1:
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
        "bars": chart("bars", figures.verdict_bars(verdict_shares(run))),
        "matrices": {name: chart(f"matrix-{name}", plot) for name, plot in matrices.items()},
        "densities": {site: chart(f"density-{site}", plot) for site, plot in densities.items()},
    }


def _pictures(run: Run, evidence: Evidence) -> dict[str, Any]:
    records = run.records()
    concepts = dict.fromkeys(trial.concept for trial in run.spec.trials)
    methods = [edit.method for trial in run.spec.trials for edit in trial.conditions.values() if edit]
    shown = {"several": len(conditions(run.spec)[0]) > 1, "attention": bool(evidence.attention)}
    return {
        "sheets": {concept: sheets(run, concept, records) for concept in concepts},
        "cards": concept_cards(evidence.cards),
        "attention": attention_rows(evidence.attention),
        "saes": evidence.saes,
        "inner": inner(evidence.tables, chart),
        "references": references(methods, **shown, autoencoders=bool(evidence.saes)),
    }


def chart(name: str, plot: go.Figure) -> Markup:
    """A plotly figure as a piece of HTML that uses the page's own plotly and follows the page's width."""
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    place = re.sub(r"\W", "-", name)
    return Markup(plot.to_html(full_html=False, include_plotlyjs=False, div_id=place, config=config))


def environment() -> jinja2.Environment:
    """Where the templates are; a name that a template uses and nobody gives is an error."""
    loader = jinja2.PackageLoader("workbench.reports")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _short(concepts: list[str]) -> str:
    return " and ".join(concepts) if len(concepts) < 3 else f"{len(concepts)} concepts"
