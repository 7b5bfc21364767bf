"""The figures of a comparison show the numbers of the table; references stay quiet."""

import numpy as np
import pytest

from tests.evaluation.drawn import drawn_run
from workbench.conditions import UNEDITED
from workbench.evaluation.tables import metrics
from workbench.figures import method_intervals, method_scatter
from workbench.figures.template import QUIET

PANELS = ("efficacy", "generality", "neighbour_specificity", "unrelated_specificity", "harmonic_mean")
CONTROLS = (UNEDITED, "no-op")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    def half(row):
        return "orange" if row.expected == "red" and row.seed == 1 else row.expected

    paints = {"half": half, "all": lambda row: "nothing", "no-op": lambda row: row.expected}
    return metrics(drawn_run(tmp_path_factory.mktemp("comparison") / "run", paints))


def panel_of(trace):
    return int((trace.xaxis or "x")[1:] or 1) - 1


def test_each_panel_has_the_value_and_interval_of_each_condition(table):
    rows = table.set_index(["condition", "metric"])
    plot = method_intervals(table, CONTROLS)
    assert len(plot.data) == 4 * len(PANELS)
    for trace in plot.data:
        row = rows.loc[(trace.name, PANELS[panel_of(trace)])]
        assert (trace.x[0], trace.y[0]) == (row["value"], trace.name)
        assert trace.error_x.array[0] == pytest.approx(row["high"] - row["value"])
        assert trace.error_x.arrayminus[0] == pytest.approx(row["value"] - row["low"])
    assert list(plot.layout.yaxis.categoryarray) == ["no-op", "all", "half", UNEDITED]  # the first is the uppermost


def test_references_are_grey_and_methods_are_not(table):
    for plot in (method_intervals(table, CONTROLS), method_scatter(table, CONTROLS)):
        colours = {trace.name: trace.marker.color for trace in plot.data}
        assert colours[UNEDITED] == colours["no-op"] == QUIET
        assert len({colours["half"], colours["all"], QUIET}) == 3


def test_the_scatter_has_a_marker_a_condition_and_panel(table):
    rows = table.set_index(["condition", "metric"])["value"]
    plot = method_scatter(table, CONTROLS)
    assert len(plot.data) == 2 * 4
    for trace in plot.data:
        kept = ("neighbour_specificity", "unrelated_specificity")[panel_of(trace)]
        assert (trace.x[0], trace.y[0]) == (rows[trace.name, kept], rows[trace.name, "efficacy"])
    assert sum(trace.showlegend for trace in plot.data) == 4
    assert len({trace.marker.symbol for trace in plot.data}) == 4


def test_what_is_void_has_no_marker(table):
    void = table.copy()
    void.loc[(void["condition"] == "half") & (void["metric"] == "efficacy"), ["value", "low", "high"]] = np.nan
    assert "half" not in {trace.name for trace in method_scatter(void).data}
    assert [trace.name for trace in method_intervals(void).data].count("half") == len(PANELS) - 1


def test_strengths_of_one_method_are_one_curve_that_carries_them(table):
    curve = table.replace({"condition": {"half": "ItD @ 1", "all": "ItD @ 2"}})
    plot = method_scatter(curve, CONTROLS)
    (first, *_) = [trace for trace in plot.data if trace.name == "ItD"]
    assert first.mode.startswith("lines") and list(first.text) == ["1", "2"]
    rows = curve[curve["metric"] == "efficacy"].set_index("condition")["value"]
    assert list(first.y) == [rows["ItD @ 1"], rows["ItD @ 2"]]
    assert all(len(trace.x) == 1 for trace in plot.data if trace.name != "ItD")
