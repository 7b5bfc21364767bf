"""Tables for people, JSON for programs."""

import json

import pandas as pd

from workbench.cli.tables import show, show_agreement, show_comparison, show_metrics, show_published

ROW = {"concept": "fox", "metric": "efficacy", "low": 0.8, "high": 1.0, "mark": "", "p_value": float("nan")}


def test_json_has_all_digits_and_null_for_nan(capsys):
    show([{"value": 1 / 3, "effect": float("nan"), "names": ["a", "b"]}], json=True)
    assert json.loads(capsys.readouterr().out) == [{"value": 1 / 3, "effect": None, "names": ["a", "b"]}]


def test_a_table_is_rounded_and_names_what_is_missing(capsys):
    show([{"the_value": 1 / 3, "effect": float("nan"), "names": ["a", "b"]}], json=False, title="Things")
    text = capsys.readouterr().out
    assert "Things" in text and "the value" in text and "0.3333 " in text and "–" in text and "a, b" in text


def test_metrics_have_a_column_for_each_condition(capsys):
    rows = [
        {**ROW, "condition": "unedited", "value": 0.1},
        {**ROW, "condition": "ItD", "value": 0.9},
        {**ROW, "condition": "ItD", "value": 0.7, "metric": "generality", "mark": "damaged"},
    ]
    show_metrics(rows, json=False)
    head, efficacy, generality = (line for line in capsys.readouterr().out.splitlines() if line.strip(" ─"))
    assert head.split() == ["concept", "metric", "unedited", "ItD"]
    assert efficacy.split()[2] == "0.100" and "0.900 (0.80 to 1.00)" in efficacy
    assert "–" in generality and "0.700 (0.80 to 1.00) damaged" in generality
    show_metrics(rows, json=True)
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_a_comparison_ends_its_lines_with_what_was_chosen(capsys):
    row = {"suite": "fox", "concept": "fox", "metric": "efficacy", "value": 0.9, "low": 0.8, "high": 1.0, "mark": ""}
    table = pd.DataFrame([{**row, "condition": name} for name in ("unedited", "ESD", "UCE")])
    best = pd.DataFrame(
        [{"suite": "fox", "concept": "fox", "condition": "ESD", "metric": "efficacy", "among_best": True}]
    )
    length = {"length": 0.5, "length_low": 0.25, "length_high": 1.0, "stopped": 3, "unmet": 1}
    none = {**dict.fromkeys(length, float("nan")), "stopped": 0, "unmet": 0}
    chosen = pd.DataFrame([
        {"suite": "fox", "concept": "fox", "condition": "ESD", "chosen_on": "car", **length},
        {"suite": "fox", "concept": "fox", "condition": "UCE", "chosen_on": "published", **none},
    ])  # fmt: skip
    show_comparison(table, best, chosen, None, json=False)
    _, _, unedited, esd, uce = (line for line in capsys.readouterr().out.splitlines() if line.strip(" ─"))
    assert "90 (80–100) *" in esd and "50\u202f% (25–100\u202f%); not enough in 1 of 3 fits" in esd and "car" in esd
    assert uce.split()[-2:] == ["–", "published"] and unedited.split()[-2:] == ["–", "–"]
    show_comparison(table, best, chosen, None, json=True)
    found = {one["condition"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["ESD"]["length_low"] == 0.25 and found["UCE"]["length"] is None and found["ESD"]["suite"] == "fox"


def test_a_table_for_documents_is_one_of_markdown(capsys):
    show([{"name_of": "a|b", "share": 0.25}, {"name_of": None, "share": 1}], json=False, title="Shares", markdown=True)
    lines = ["Shares", "", "| name of | share |", "| --- | --- |", r"| a\|b | 0.25 |", "| – | 1 |"]
    assert capsys.readouterr().out.splitlines()[:6] == lines


def test_published_orders_are_a_line_each_and_nothing_where_there_are_none(capsys):
    row = {"better": "RECE", "than": "UCE", "metric": "generality", "source": "a paper", "verdict": "undecided"}
    known = {"better_value": 0.9, "than_value": 0.8, "difference": 0.1, "low": -0.02, "high": 0.2}
    damaged = {**row, **dict.fromkeys(known, float("nan")), "verdict": "damaged"}
    show_published(pd.DataFrame([{**row, **known}, damaged]))
    text = capsys.readouterr().out
    assert "RECE above UCE, generality" in text and "90 and 80" in text and "+10 (-2 to +20)" in text
    assert "undecided" in text and "damaged" in text
    show_published(pd.DataFrame([], columns=[*row, *known]))
    assert capsys.readouterr().out == ""


def test_agreement_of_judges_is_a_line_for_each_condition(capsys):
    row = {
        "first_judge": "toy", "second_judge": "clip", "condition": "ItD", "wanted": "any", "n": 40, "prompts": 20,
        "rate": 0.9, "rate_low": 0.75, "rate_high": 0.96, "kappa": 0.8, "kappa_low": 0.61, "kappa_high": 0.93,
        "first": 0.5, "second": 0.55,
    }  # fmt: skip
    undefined = {**row, "condition": "UCE", "kappa": float("nan")}
    show_agreement(pd.DataFrame([row, undefined]), json=False)
    text = capsys.readouterr().out
    assert "toy, clip" in text and "90 (75–96)" in text and "0.80 (0.61 to 0.93)" in text and "50, 55" in text
    assert "–" in next(line for line in text.splitlines() if "UCE" in line)
    show_agreement(pd.DataFrame([row, undefined]), json=True)
    assert json.loads(capsys.readouterr().out) == [row, {**undefined, "kappa": None}]
