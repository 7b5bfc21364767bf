"""`workbench toy report`: both models, each with the floors of its kind."""

import json

import numpy as np
import pytest

from workbench.cli.main import main
from workbench.toy import report
from workbench.toy.oracle import Oracle


class Blank:
    """Draws nothing, whatever is asked."""

    def __init__(self, kind):
        self.kind = kind

    def generate(self, prompts, seeds, *, progress):
        return np.full((len(prompts), 48, 48, 3), 255, np.uint8)


@pytest.fixture
def blank(monkeypatch):
    kinds = {"toy": "sd1", "toy-janus": "janus"}
    monkeypatch.setattr(report, "subject", lambda name: (Blank(kinds[name]), Oracle.load()))


def test_both_models_are_shown_with_the_floors_of_their_kinds(blank, capsys):
    assert main(["toy", "report", "--prompts", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    for name, floors in (("toy", report.FLOORS), ("toy-janus", report.JANUS_FLOORS)):
        own = {row["factor"]: row["floor"] for row in rows if row["model"] == name and row["floor"]}
        assert own == floors
    assert {row["value"] for row in rows if row["factor"] == "object"} == {0.0}


def test_a_table_for_each_model(blank, capsys):
    assert main(["toy", "report", "--prompts", "3"]) == 0
    shown = capsys.readouterr().out
    assert "(toy)" in shown and "(toy-janus)" in shown


def test_a_sheet_is_of_one_model(blank, capsys, tmp_path):
    assert main(["toy", "report", "--sheet", str(tmp_path / "sheet.png")]) == 1
    assert "Say of which: --model toy." in capsys.readouterr().err
