"""The benchmark of costs fits each method that is asked for and says what it and its images cost."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/edit_costs.py"


@pytest.mark.slow
def test_each_method_has_a_row_with_both_costs(monkeypatch, capsys):
    asked = ["--rounds", "1", "--images", "1", "--methods", "UCE", "negative prompt"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *asked])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    head, *rows = capsys.readouterr().out.strip().splitlines()
    assert "an image without an edit takes" in head
    found = [re.match(r"(.+?) +a fit is +(\d+) images, an image (\d\.\d+)×", row) for row in rows]
    assert [match and match[1] for match in found] == ["UCE", "negative prompt"]
    assert all(match and float(match[3]) > 0.3 for match in found)
