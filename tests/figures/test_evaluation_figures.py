"""The figures of an evaluation show the numbers of its tables, and nothing that the tables do not hold."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.drawn import altered, drawn_run, suite
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Row
from workbench.evaluation.tables import concept_matrix, metrics, verdict_shares
from workbench.figures import evaluation as figures


def half(row: Row) -> str:
    return "orange" if row.expected == "red" and row.seed == 1 else row.expected


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    paints = {"half": half, "noise": lambda row: "noise" if row.role == "target" else row.expected}
    suites = suite(), suite("blue", "green")
    return drawn_run(tmp_path_factory.mktemp("figures") / "run", paints, *suites)


def test_each_marker_is_a_row_with_its_interval(run: Run) -> None:
    table = metrics(run).set_index(["condition", "concept", "metric"])
    plot = figures.efficacy_against_specificity(metrics(run))
    panels = {"x": "neighbour_specificity", "x2": "unrelated_specificity"}
    shown = 0
    for trace in plot.data:
        if trace.x[0] is None:  # a symbol of the legend
            continue
        panel = panels[trace.xaxis or "x"]
        for place, concept in enumerate(trace.customdata):
            efficacy, kept = (table.loc[(trace.name, concept, name)] for name in ("efficacy", panel))
            assert (trace.x[place], trace.y[place]) == (kept["value"], efficacy["value"])
            assert trace.error_y.array[place] == pytest.approx(efficacy["high"] - efficacy["value"])
            assert trace.error_y.arrayminus[place] == pytest.approx(efficacy["value"] - efficacy["low"])
            assert trace.error_x.arrayminus[place] == pytest.approx(kept["value"] - kept["low"])
            shown += 1
    assert shown == 2 * 3 * 2  # panels, conditions, concepts


def test_a_void_metric_has_no_marker(run: Run) -> None:
    table = metrics(run)
    table.loc[(table["condition"] == "half") & (table["metric"] == "efficacy"), ["value", "low", "high"]] = np.nan
    counts = {"half": 0, "noise": 0, "unedited": 0}
    for trace in figures.efficacy_against_specificity(table).data:
        if trace.name in counts:
            counts[trace.name] += len(trace.x)
    assert counts == {"half": 0, "noise": 4, "unedited": 4}


def test_the_bars_add_up_to_the_shares(run: Run) -> None:
    shares = verdict_shares(run)
    plot = figures.verdict_bars(shares)
    for trace in plot.data:
        role = ["target", "synonym", "neighbour", "unrelated"][int((trace.xaxis or "x")[1:] or 1) - 1]
        own = shares[(shares["role"] == role) & (shares["verdict"] == trace.name)]
        np.testing.assert_allclose(trace.x, own["share"])
        assert [list(part) for part in trace.y] == [own["concept"].tolist(), own["condition"].tolist()]
    assert sum(np.sum(trace.x) for trace in plot.data) == pytest.approx(2 * 3 * 4)  # concepts, conditions, roles
    names = [trace.name for trace in plot.data if trace.showlegend]
    assert sorted(names) == sorted(set(names))


def test_the_matrix_shows_differences_in_points_and_frames_the_erased(run: Run) -> None:
    matrix = concept_matrix(run)
    half_matrix = matrix[matrix["condition"] == "half"]
    heatmap = (plot := figures.concept_matrix(half_matrix)).data[0]
    grid = half_matrix.set_index(["erased", "concept"])["difference"]
    for row, erased in enumerate(heatmap.y):
        for column, concept in enumerate(heatmap.x):
            if (erased, concept) in grid.index:
                assert heatmap.z[row][column] == pytest.approx(100 * grid[erased, concept])
            else:
                assert np.isnan(heatmap.z[row][column])
                assert heatmap.text[row][column] == ""
    assert heatmap.text[0][0] == "−50"
    assert [(shape.x0, shape.y0) for shape in plot.layout.shapes] == [(-0.5, -0.5), (0.5, 0.5)]


def test_the_matrix_of_one_concept_has_a_row_a_condition_with_the_concept_framed(run: Run) -> None:
    matrix = concept_matrix(run)
    red = matrix[(matrix["erased"] == "red") & (matrix["condition"] != "unedited")]
    plot = figures.concept_matrix(red, rows="condition")
    assert list(plot.data[0].y) == ["half", "noise"] and plot.data[0].x[0] == "red"
    shown = red.set_index(["condition", "concept"])["difference"]
    assert plot.data[0].z[1][0] == pytest.approx(100 * shown["noise", "red"])
    assert [(shape.x0, shape.y0) for shape in plot.layout.shapes] == [(-0.5, -0.5), (-0.5, 0.5)]


def test_a_void_cell_of_the_matrix_is_crossed_out(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"half": half})
    records = run.records()
    records.loc[(records["condition"] == "unedited") & (records["expected"] == "green"), "shown"] = False
    matrix = concept_matrix(altered(run, records))
    heatmap = figures.concept_matrix(matrix[matrix["condition"] == "half"]).data[0]
    assert heatmap.text[0][list(heatmap.x).index("green")] == "×"
