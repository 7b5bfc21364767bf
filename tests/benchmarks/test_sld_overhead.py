"""The benchmark of SLD times both arms on a model and names its bound."""

import re
import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/sld_overhead.py"


def test_each_line_compares_with_plain_guidance_and_names_the_bound(tiny_sd1, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tiny_sd1.folder), "--rounds", "3"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.strip().splitlines()
    found = [
        re.search(r"(\d) at once: plain guidance .* SLD (\d\.\d+)× .* claim: at most 1\.5×", line) for line in lines
    ]
    assert [match and match[1] for match in found] == ["1", "4"]
    assert all(match and float(match[2]) > 0.5 for match in found)  # a third more work, timed on a busy machine
