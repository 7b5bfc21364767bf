"""The figures of studies hold their tables."""

import pandas as pd
import pytest

from workbench.figures.studies import DECISIONS, dose_response, study_effects, study_tests, trace_map


def test_tests_stand_beside_the_margin_in_the_colour_of_their_decision():
    rows = [("a", 0.5, 0.3, 0.7, "above"), ("b", 0.0, -0.1, 0.1, "below"), ("c", 0.2, 0.0, 0.4, "open")]
    plot = study_tests(pd.DataFrame(rows, columns=["question", "value", "low", "high", "decision"]), 0.2)
    assert [trace.x[0] for trace in plot.data] == [0.5, 0.0, 0.2] and [trace.y[0] for trace in plot.data] == list("abc")
    assert [trace.marker.color for trace in plot.data] == [DECISIONS[row[4]] for row in rows]
    assert plot.data[0].error_x.array[0] == pytest.approx(0.2) == plot.data[0].error_x.arrayminus[0]
    assert {shape.x0 for shape in plot.layout.shapes} == {0, 0.2}


def effects():
    rows = [
        (whose, word, dose, sign * dose / 2, sign * dose / 2 - 0.1, sign * dose / 2 + 0.1)
        for whose, sign in (("subject", 1), ("random", 0)) for word in ("fox", "cat") for dose in (1.0, 0.5)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["whose", "word", "dose", "effect", "low", "high"])


def test_doses_begin_at_nothing_and_rise_in_order():
    lines = {trace.name: trace for trace in dose_response(effects()).data if trace.mode == "lines+markers"}
    assert set(lines) == {"fox, subject", "cat, subject", "fox, random", "cat, random"}
    assert list(lines["fox, subject"].x) == [0, 0.5, 1] and list(lines["fox, subject"].y) == [0, 0.25, 0.5]
    assert lines["fox, random"].line.dash == "dash" and lines["fox, subject"].line.dash == "solid"
    assert lines["fox, subject"].line.color == lines["fox, random"].line.color != lines["cat, subject"].line.color


def test_the_subject_and_every_draw_have_a_row():
    own = effects().query("dose == 1")
    plot = study_effects(own, own["whose"].tolist())
    assert list(plot.layout.yaxis.ticktext) == ["subject", "random"] and plot.layout.showlegend
    fox, cat = plot.data
    assert list(fox.x) == [0.5, 0] and fox.y[1] - fox.y[0] == 1 and fox.y[0] < 0 < cat.y[0]


def test_a_trace_shows_numbers_only_where_they_differ_from_0():
    rows = [("text.0", "a", 0.5, 0.2, 0.8), ("text.0", "b", 0.1, -0.1, 0.3), ("text.1", "a", -0.4, -0.6, -0.1),
            ("text.1", "b", 0.0, 0.0, 0.0)]  # fmt: skip
    (heat,) = trace_map(pd.DataFrame(rows, columns=["site", "token", "restored", "low", "high"]), "token").data
    assert heat.z.tolist() == [[0.5, 0.1], [-0.4, 0.0]] and list(heat.y) == ["text.0", "text.1"]
    assert heat.text.tolist() == [["0.50", ""], ["-0.40", ""]]
