"""The benchmark of SAE training compares equal work: same weights, same batches, same steps, hence the same loss."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/sae_training.py"
SMALL = ["--d-in", "32", "--d-sae", "256", "--k", "8", "--batch", "512", "--steps", "2", "--turns", "2"]


def test_ours_ends_at_the_loss_of_the_stock_trainer_and_both_have_learnt(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *SMALL])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    sparse, head, *rows, last = capsys.readouterr().out.strip().splitlines()
    assert sparse == "sae-lens, sparse cannot train here: Could not run 'aten::view'."  # else it has a row of its own
    figures = {row[:17].strip(): [float(value) for value in row[17:].split()] for row in rows}
    assert set(figures) == {"sae-lens, stock", "plain torch loop", "ours"} and "× stock" in head
    stock, ours = figures["sae-lens, stock"], figures["ours"]
    assert stock[2] == stock[3] == 1
    assert ours[4] == stock[4] > stock[5]
    assert ours[5] == pytest.approx(stock[5], rel=1e-2)
    assert last.startswith("After 5 equal steps")
