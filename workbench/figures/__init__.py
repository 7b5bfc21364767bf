"""Figures: functions from tables and arrays to plotly figures, used by notebooks, reports and dashboard alike.

None of them takes a model, a run or a path, computes a statistic, shows or saves anything.
"""
