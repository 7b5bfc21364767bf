"""Figures: functions from tables and arrays to plotly figures, used by notebooks, reports and dashboard alike.

None of them takes a model, a run or a path, computes a statistic, shows or saves anything.
"""

from workbench.figures.comparison import method_intervals, method_scatter
from workbench.figures.evaluation import concept_matrix, efficacy_against_specificity, verdict_bars
from workbench.figures.features import density_histogram, l0_against_explained_variance, token_strip, training_curves
from workbench.figures.pictures import attention_overlays, contact_sheet

__all__ = [
    "attention_overlays",
    "concept_matrix",
    "contact_sheet",
    "density_histogram",
    "efficacy_against_specificity",
    "l0_against_explained_variance",
    "method_intervals",
    "method_scatter",
    "token_strip",
    "training_curves",
    "verdict_bars",
]
