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
from workbench.evaluation.tables import concept_matrix, metrics, pooled_metrics, verdict_shares
from workbench.figures.evaluation import ROLES, VERDICT_COLOURS
from workbench.reports.cards import attention_rows, concept_cards
from workbench.reports.evidence import Evidence, read_evidence
from workbench.reports.reading import conditions, reading
from workbench.reports.references import references
from workbench.reports.sheets import sheets
from workbench.reports.summary import headings, summary_rows
from workbench.runs import Run


def report(
    run: Run, path: Path | str, evidence: Evidence | None = None, *, title: str = "", question: str = ""
) -> Path:
    """Writes the report of a finished run and returns its path.

    Without `evidence`, what was collected into the run folder is shown, if anything. `title` and `question` replace
    those derived from the run. The page holds plotly once and all images; it loads nothing.
    """
    table = metrics(run)
    evidence = evidence or read_evidence(run.dir) or Evidence()
    context = {
        **_text(run, table, title, question),
        **_charts(run, table, evidence),
        **_pictures(run, evidence),
        "style": Markup(_environment().get_template("style.css").render()),
        "plotly": Markup(get_plotlyjs()),
    }
    page = _environment().get_template("report.html").render(context)
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _text(run: Run, table: pd.DataFrame, title: str, question: str) -> dict[str, Any]:
    spec, words = run.spec, reading(table, run.spec)
    edits = {edit.hash: edit for trial in spec.trials for edit in trial.conditions.values() if edit}
    concepts = list(dict.fromkeys(trial.concept for trial in spec.trials))
    return {
        "title": title or f"Erasing {_short(concepts)} from “{spec.model.name}”",
        "reading": words._replace(question=question or words.question),
        "spec": spec, "judge": run.judge, "concepts": concepts, "edits": list(edits.values()),
        "headings": headings(table), "rows": summary_rows(_with_all(run, table)), "n_images": len(spec.cells()),
        "roles": ROLES, "verdict_colours": VERDICT_COLOURS, "run_dir": run.dir,
    }  # fmt: skip


def _with_all(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """The metrics of each concept, after those of all together where there are several."""
    return table if table["concept"].nunique() < 2 else pd.concat([pooled_metrics(run), table], ignore_index=True)


def _charts(run: Run, table: pd.DataFrame, evidence: Evidence) -> dict[str, Any]:
    matrix = concept_matrix(run)
    matrices = {name: own for name, own in matrix.groupby("condition", sort=False) if name in conditions(run.spec)[0]}
    densities = {
        site: figures.density_histogram(density, [card.feature for card in evidence.cards if card.site == site])
        for site, density in evidence.densities.items()
    }
    return {
        "scatter": chart("scatter", figures.efficacy_against_specificity(table)),
        "bars": chart("bars", figures.verdict_bars(verdict_shares(run))),
        "matrices": {name: chart(f"matrix-{name}", figures.concept_matrix(own)) for name, own in matrices.items()},
        "densities": {site: chart(f"density-{site}", plot) for site, plot in densities.items()},
    }


def _pictures(run: Run, evidence: Evidence) -> dict[str, Any]:
    records = run.records()
    concepts = dict.fromkeys(trial.concept for trial in run.spec.trials)
    methods = [edit.method for trial in run.spec.trials for edit in trial.conditions.values() if edit]
    return {
        "sheets": {concept: sheets(run, concept, records) for concept in concepts},
        "cards": concept_cards(evidence.cards),
        "attention": attention_rows(evidence.attention),
        "saes": evidence.saes,
        "references": references(methods, attention=bool(evidence.attention), autoencoders=bool(evidence.saes)),
    }


def chart(name: str, plot: go.Figure) -> Markup:
    """A plotly figure as a piece of HTML that uses the page's own plotly and follows the page's width."""
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    place = re.sub(r"\W", "-", name)
    return Markup(plot.to_html(full_html=False, include_plotlyjs=False, div_id=place, config=config))


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("workbench.reports")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _short(concepts: list[str]) -> str:
    return " and ".join(concepts) if len(concepts) < 3 else f"{len(concepts)} concepts"
