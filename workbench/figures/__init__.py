"""Figures: functions from tables and arrays to plotly figures, used by notebooks, reports and dashboard alike.

None of them takes a model, a run or a path, computes a statistic, shows or saves anything.
"""

from workbench.figures.attacks import attack_bars, budget_curves, transfer_heatmap
from workbench.figures.comparison import method_intervals, method_scatter
from workbench.figures.evaluation import concept_matrix, efficacy_against_specificity, verdict_bars
from workbench.figures.exports import keep_in_exports
from workbench.figures.features import density_histogram, token_strip, training_curves
from workbench.figures.neighbours import neighbour_lists
from workbench.figures.pictures import attention_overlays, contact_sheet
from workbench.figures.saes import dead_and_dense, densities, frontier

__all__ = [
    "attack_bars",
    "attention_overlays",
    "budget_curves",
    "concept_matrix",
    "contact_sheet",
    "dead_and_dense",
    "densities",
    "density_histogram",
    "efficacy_against_specificity",
    "frontier",
    "method_intervals",
    "method_scatter",
    "neighbour_lists",
    "token_strip",
    "training_curves",
    "transfer_heatmap",
    "verdict_bars",
]

keep_in_exports()
